//! Addresses to listen on, as they are written: `tcp://127.0.0.1:3000`, `tcp://[::1]:80`, `udp://:53`, `unix:///run/web.sock`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// A TCP port.
    Tcp(Place),
    /// A UDP port.
    Udp(Place),
    /// A Unix stream socket at an absolute path.
    Unix(PathBuf),
}

/// A port of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// On which of the machine's addresses.
    pub host: Host,
    /// 0: the kernel chooses.
    pub port: u16,
}

/// Which of the machine's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// All of them, IPv6 and IPv4 (without IPv6 on the machine: IPv4).
    Any,
    /// This one. `0.0.0.0` is all of IPv4, `::` all of IPv6 and not IPv4.
    Ip(IpAddr),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing before `://`.
    #[error(
        "`{0}` does not say what it is: write tcp://HOST:PORT, udp://HOST:PORT or unix:///path"
    )]
    NoScheme(String),
    /// Something else before `://`.
    #[error(
        "`{0}://` is not known here: there are tcp://HOST:PORT, udp://HOST:PORT and unix:///path"
    )]
    Scheme(String),
    /// No port, or none that exists.
    #[error("`{0}` has no port from 0 to 65535: write it like tcp://127.0.0.1:3000")]
    Port(String),
    /// IPv6 without brackets.
    #[error("`{0}`: an IPv6 address needs brackets, like tcp://[::1]:3000")]
    Brackets(String),
    /// A name, or not an address.
    #[error(
        "`{0}` is no IP address: ganger looks up no names; write 127.0.0.1, [::1], or nothing for all addresses"
    )]
    Host(String),
    /// Not a path that a socket could have.
    #[error("`{0}` is no path for a socket: write unix:///run/name.sock")]
    Path(String),
}

impl Address {
    /// The port, and which addresses of the machine, of TCP and UDP.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        match self {
            Self::Tcp(place) | Self::Udp(place) => Some(*place),
            Self::Unix(_) => None,
        }
    }

    /// Where a socket really is.
    #[must_use]
    pub(crate) fn of(place: std::net::SocketAddr, udp: bool) -> Self {
        let place = Place { host: Host::Ip(place.ip()), port: place.port() };
        if udp { Self::Udp(place) } else { Self::Tcp(place) }
    }

    /// True when a TCP connection to `host` (an IP address or `localhost`) and `port` comes here.
    #[must_use]
    pub fn takes_tcp(&self, host: &str, port: u16) -> bool {
        let Self::Tcp(place) = self else { return false };
        let same = match place.host {
            Host::Any => true,
            Host::Ip(ip) if ip.is_unspecified() => {
                host.parse::<IpAddr>().map_or(true, |host| host.is_ipv4() == ip.is_ipv4())
            }
            Host::Ip(ip) => host.parse() == Ok(ip) || (host == "localhost" && ip.is_loopback()),
        };
        same && place.port == port && port != 0
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| AddressError::NoScheme(text.to_owned()))?;
        match scheme {
            "tcp" => place(rest).map(Self::Tcp),
            "udp" => place(rest).map(Self::Udp),
            "unix" => path(rest).map(Self::Unix),
            other => Err(AddressError::Scheme(other.to_owned())),
        }
    }
}

fn place(text: &str) -> Result<Place, AddressError> {
    let no_port = || AddressError::Port(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
    // `parse` would take "+80" as well.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| port.parse().ok()).flatten().ok_or_else(no_port)?;
    let unknown = || AddressError::Host(host.to_owned());
    let host = match host {
        "" | "*" => Host::Any,
        "localhost" => Host::Ip(Ipv4Addr::LOCALHOST.into()),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => Host::Ip(inner.parse::<Ipv6Addr>().map_err(|_| unknown())?.into()),
            None if host.contains(':') => return Err(AddressError::Brackets(text.to_owned())),
            None => Host::Ip(host.parse::<Ipv4Addr>().map_err(|_| unknown())?.into()),
        },
    };
    Ok(Place { host, port })
}

fn path(text: &str) -> Result<PathBuf, AddressError> {
    let name = text.rsplit('/').next().unwrap_or_default();
    if !text.starts_with('/') || matches!(name, "" | "." | "..") || text.contains('\0') {
        return Err(AddressError::Path(text.to_owned()));
    }
    Ok(PathBuf::from(text))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Any => write!(f, ":{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            Self::Udp(place) => write!(f, "udp://{place}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> String {
        text.parse::<Address>().unwrap().to_string()
    }

    #[test]
    fn what_people_write() {
        for (text, is) in [
            ("tcp://127.0.0.1:3000", "tcp://127.0.0.1:3000"),
            ("tcp://localhost:3000", "tcp://127.0.0.1:3000"),
            ("tcp://:3000", "tcp://:3000"),
            ("tcp://*:3000", "tcp://:3000"),
            ("tcp://[::]:80", "tcp://[::]:80"),
            ("tcp://[0:0:0:0:0:0:0:1]:080", "tcp://[::1]:80"),
            ("tcp://0.0.0.0:0", "tcp://0.0.0.0:0"),
            ("udp://[::1]:53", "udp://[::1]:53"),
            ("unix:///run/web.sock", "unix:///run/web.sock"),
        ] {
            assert_eq!(parsed(text), is);
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        for (text, part) in [
            ("127.0.0.1:3000", "tcp://HOST:PORT"),
            (":3000", "tcp://HOST:PORT"),
            ("0", "tcp://HOST:PORT"),
            ("http://127.0.0.1:80", "`http://` is not known"),
            ("tcp://3000", "no port"),
            ("tcp://127.0.0.1", "no port"),
            ("tcp://127.0.0.1:", "no port"),
            ("tcp://127.0.0.1:+80", "no port"),
            ("tcp://127.0.0.1:65536", "no port"),
            ("tcp://::1:80", "brackets"),
            ("tcp://[127.0.0.1]:80", "no IP address"),
            ("tcp://example.org:80", "looks up no names"),
            ("unix://run/web.sock", "no path"),
            ("unix:///run/", "no path"),
            ("unix:///run/..", "no path"),
        ] {
            let why = text.parse::<Address>().unwrap_err().to_string();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn which_connections_come_here() {
        let takes = |text: &str, host, port| text.parse::<Address>().unwrap().takes_tcp(host, port);
        assert!(takes("tcp://:3000", "127.0.0.1", 3000));
        assert!(takes("tcp://0.0.0.0:3000", "127.0.0.1", 3000));
        assert!(takes("tcp://127.0.0.1:3000", "localhost", 3000));
        assert!(!takes("tcp://127.0.0.1:3000", "127.0.0.1", 3001));
        assert!(!takes("tcp://127.0.0.1:3000", "10.0.0.1", 3000));
        assert!(!takes("udp://127.0.0.1:3000", "127.0.0.1", 3000));
        assert!(!takes("tcp://127.0.0.1:0", "127.0.0.1", 0));
    }

    fn any_address() -> impl Strategy<Value = Address> {
        let host = prop_oneof![
            Just(Host::Any),
            any::<[u8; 4]>().prop_map(|ip| Host::Ip(IpAddr::from(ip))),
            any::<[u8; 16]>().prop_map(|ip| Host::Ip(IpAddr::from(ip))),
        ];
        let place = (host, any::<u16>()).prop_map(|(host, port)| Place { host, port });
        prop_oneof![
            place.clone().prop_map(Address::Tcp),
            place.prop_map(Address::Udp),
            "(/[a-z :\\[\\]%]{1,9}){0,3}/[a-z:#]{1,9}".prop_map(|p| Address::Unix(p.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(address in any_address()) {
            prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address.clone());
            let json = serde_json::to_string(&address).unwrap();
            prop_assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
        }

        #[test]
        fn what_is_read_is_printed_the_same_for_ever(text in "(tcp|udp|unix)://[\\[\\]0-9a-f:./*]{0,24}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
