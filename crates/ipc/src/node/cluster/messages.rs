//! The cluster protocol's messages as text.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, Value};

use super::Refused;
use crate::envelope::Garbage;

/// What kind of socket a worker asks for (`addressType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 4
    Tcp4,
    /// 6, or both for no address.
    Tcp6,
    /// −1: a Unix path.
    Unix,
    /// `udp4`
    Udp4,
    /// `udp6`
    Udp6,
    /// null: a descriptor number of the primary.
    Fd,
}

/// What a worker wants to listen on, as its program wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which kind.
    pub family: Family,
    /// An address or an absolute path; `None` for any address.
    pub address: Option<String>,
    /// 0 for any, in [`Self::family`]s that have one.
    pub port: u16,
    /// Listen on this descriptor of the primary instead.
    pub fd: Option<i32>,
    /// IPv6 only, not both.
    pub ipv6_only: bool,
    /// What it asks for; the first that asks decides.
    pub backlog: Option<u32>,
    /// A Unix socket that all may read.
    pub readable_all: bool,
    /// A Unix socket that all may write.
    pub writable_all: bool,
    /// Which server of the program this is, of those with the same address.
    pub index: u64,
}

impl Wish {
    /// What makes two wishes the same listener.
    pub(super) fn base_key(&self) -> String {
        let address = self.address.as_deref().unwrap_or("null");
        let fd = self.fd.map_or("null".to_owned(), |fd| fd.to_string());
        let mut key = match self.family {
            Family::Tcp4 => format!("{address}:{}:4:{fd}", self.port),
            Family::Tcp6 => format!("{address}:{}:6:{fd}", self.port),
            Family::Unix => format!("{address}:-1:-1:{fd}"),
            Family::Udp4 => format!("{address}:{}:udp4:{fd}", self.port),
            Family::Udp6 => format!("{address}:{}:udp6:{fd}", self.port),
            Family::Fd => format!("null:null:null:{fd}"),
        };
        if self.port == 0 && !matches!(self.family, Family::Unix | Family::Fd) {
            key.push_str(&format!(":{}", self.index));
        }
        key
    }
}

/// One message of a worker.
#[derive(Debug)]
pub(super) enum FromWorker {
    Online,
    Query { seq: u64, wish: Wish, data: Option<Box<RawValue>> },
    Listening(Wish),
    Close { key: String },
    Leaving { seq: u64 },
    Answer { ack: u64, accepted: bool },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    act: Option<&'a str>,
    seq: Option<u64>,
    ack: Option<u64>,
    #[serde(default)]
    accepted: bool,
    key: Option<String>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    address: Option<String>,
    port: Option<i64>,
    #[serde(borrow)]
    address_type: Option<&'a RawValue>,
    fd: Option<i32>,
    /// Node passes these on as the program wrote them, or as `false`.
    flags: Option<Value>,
    backlog: Option<Value>,
    readable_all: Option<Value>,
    writable_all: Option<Value>,
}

/// `UV_TCP_IPV6ONLY`
const IPV6_ONLY: u64 = 1;

impl FromWorker {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refused> {
        let broken = |why: &str| Refused::from(Garbage::new(body, why));
        let wire: Wire<'_> = serde_json::from_slice(body).map_err(|e| broken(&e.to_string()))?;
        let seq = || wire.seq.ok_or_else(|| broken("it has no seq"));
        let wish = || wire.wish().map_err(broken);
        match wire.act {
            Some("online") => Ok(Self::Online),
            Some("queryServer") => {
                let data = wire.data.filter(|data| data.get() != "null").map(ToOwned::to_owned);
                Ok(Self::Query { seq: seq()?, wish: wish()?, data })
            }
            Some("listening") => Ok(Self::Listening(wish()?)),
            Some("close") => {
                Ok(Self::Close { key: wire.key.ok_or_else(|| broken("it has no key"))? })
            }
            Some("exitedAfterDisconnect") => Ok(Self::Leaving { seq: seq()? }),
            Some(other) => {
                let other: String = other.chars().take(40).collect();
                Err(Refused::Cluster(format!("unknown act `{other}`")))
            }
            None => {
                let ack = wire.ack.ok_or_else(|| broken("it has neither act nor ack"))?;
                Ok(Self::Answer { ack, accepted: wire.accepted })
            }
        }
    }
}

impl Wire<'_> {
    fn wish(&self) -> Result<Wish, &'static str> {
        let fd = self.fd.filter(|fd| *fd >= 0);
        let family = match self.address_type.map_or("null", RawValue::get) {
            "4" => Family::Tcp4,
            "6" => Family::Tcp6,
            "-1" => Family::Unix,
            r#""udp4""# => Family::Udp4,
            r#""udp6""# => Family::Udp6,
            "null" if fd.is_some() => Family::Fd,
            _ => return Err("an addressType that Node doesn't have"),
        };
        let needs_port = !matches!(family, Family::Unix | Family::Fd);
        let port = match self.port {
            Some(port) if needs_port => u16::try_from(port).map_err(|_| "no such port")?,
            None if needs_port
                && fd.is_none()
                && !matches!(family, Family::Udp4 | Family::Udp6) =>
            {
                return Err("it has no port");
            }
            _ => 0,
        };
        if family == Family::Unix && self.address.is_none() {
            return Err("a Unix socket without a path");
        }
        let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_u64);
        let yes = |value: &Option<Value>| value.as_ref().and_then(Value::as_bool).unwrap_or(false);
        let backlog = number(&self.backlog).and_then(|backlog| u32::try_from(backlog).ok());
        Ok(Wish {
            family,
            address: self.address.clone().filter(|address| !address.is_empty()),
            port,
            fd,
            ipv6_only: number(&self.flags).unwrap_or(0) & IPV6_ONLY != 0,
            backlog,
            readable_all: yes(&self.readable_all),
            writable_all: yes(&self.writable_all),
            index: self.index,
        })
    }
}

/// One message of ours, without its number.
#[derive(Debug, Serialize, Default)]
pub(super) struct Reply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// A number below zero, or null: Node looks at both.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<Option<i32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Option<&'a RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockname: Option<Sockname>,
}

#[derive(Debug, Serialize)]
struct Sockname {
    address: String,
    family: &'static str,
    port: u16,
}

impl<'a> Reply<'a> {
    pub(super) fn bare(ack: u64) -> Self {
        Self { ack: Some(ack), ..Self::default() }
    }

    pub(super) fn disconnect() -> Self {
        Self { act: Some("disconnect"), ..Self::default() }
    }

    pub(super) fn failed(ack: u64, key: &'a str, errno: i32) -> Self {
        let errno = Some(Some(-errno.saturating_abs()));
        Self { ack: Some(ack), key: Some(key), errno, data: Some(None), ..Self::default() }
    }

    pub(super) fn listens(
        ack: u64,
        key: &'a str,
        data: Option<&'a RawValue>,
        sockname: Option<SocketAddr>,
    ) -> Self {
        let sockname = sockname.map(|address| Sockname {
            address: address.ip().to_string(),
            family: if address.is_ipv4() { "IPv4" } else { "IPv6" },
            port: address.port(),
        });
        let (ack, key, data) = (Some(ack), Some(key), Some(data));
        Self { act: None, ack, key, errno: Some(None), data, sockname }
    }
}

/// All messages with a connection of a listener are alike but for their number: this is what stands before it.
pub(super) fn connection_head(key: &str, plain: bool) -> Vec<u8> {
    let key = Value::from(key);
    let head = match plain {
        true => format!(r#"{{"$connection":{{"listener":{key},"n":"#),
        false => format!(r#"{{"cmd":"NODE_CLUSTER","act":"newconn","key":{key},"seq":"#),
    };
    head.into_bytes()
}

/// The whole of such a message.
pub(super) fn connection(head: &[u8], plain: bool, seq: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(head.len() + 24);
    body.extend_from_slice(head);
    body.extend_from_slice(seq.to_string().as_bytes());
    body.extend_from_slice(if plain { b"}}" } else { b"}" });
    body
}

pub(super) fn write(reply: &Reply<'_>, seq: u64) -> Vec<u8> {
    // A raw value does not survive serde's flatten, so the two halves are put together as text.
    let own = serde_json::to_vec(reply).expect("text and numbers are JSON");
    let mut body = format!(r#"{{"cmd":"NODE_CLUSTER","seq":{seq},"#).into_bytes();
    body.extend_from_slice(&own[1..]);
    body
}
