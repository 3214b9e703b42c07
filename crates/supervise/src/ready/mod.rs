//! Looking for readiness: by log line, TCP, sd_notify or channel.
//!
//! A probe says `Ready` once, or `Never` with the reason; the machine keeps the time. Probes of sockets that the child
//! writes to go on after that and drop what comes, because a full socket would block the child.

mod log;
mod notify;
mod tcp;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use ganger_core::InstanceId;
use ganger_ipc::channel::{ChannelReader, from_socket};
use ganger_logs::read::LogReader;

pub(crate) use notify::{NOTIFY_PREFIX, NotifySocket};

use crate::spec::ReadyBy;

/// Longest line on a service's channel. `"ready"` is seven bytes; what is longer is somebody else's protocol.
const LINE_MAX: usize = 64 << 10;

/// What a probe found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Ready,
    /// It will never be ready, and why.
    Never(String),
}

pub(crate) enum Probe {
    /// One answer, then nothing more.
    Once(Pin<Box<dyn Future<Output = Found> + Send>>),
    Notify(notify::Listener),
    Channel(Box<ChannelReader>),
    /// Nothing more comes.
    Over,
}

impl Probe {
    /// `started_at_ms`: lines before that are an earlier process's. `None` where nothing is to be looked at here.
    pub(crate) fn open(
        by: &ReadyBy,
        id: &InstanceId,
        started_at_ms: u64,
        socket: Option<&NotifySocket>,
        logs: &LogReader,
    ) -> Option<Self> {
        match by {
            ReadyBy::Tcp(address) => Some(Self::Once(Box::pin(tcp::accepts(address.clone())))),
            ReadyBy::Log(pattern) => {
                let seen = log::has_line(logs.clone(), id.clone(), pattern.clone(), started_at_ms);
                Some(Self::Once(Box::pin(seen)))
            }
            ReadyBy::Notify => socket.map(|socket| Self::Notify(socket.listen())),
            ReadyBy::Channel => None,
        }
    }

    /// Reads a service's own channel.
    pub(crate) fn channel(socket: OwnedFd) -> Option<Self> {
        match from_socket(socket, LINE_MAX) {
            Ok((reader, _writer)) => Some(Self::Channel(Box::new(reader))),
            Err(error) => {
                let why = format!("its channel can't be read: {error}");
                Some(Self::Once(Box::pin(std::future::ready(Found::Never(why)))))
            }
        }
    }

    /// What goes on once readiness is settled.
    pub(crate) fn after_ready(self) -> Option<Self> {
        match self {
            Self::Once(_) | Self::Over => None,
            other => Some(other),
        }
    }

    /// The next finding; pending for ever once nothing more can come.
    ///
    /// # Cancel safety
    /// Safe: progress is kept in the probe.
    pub(crate) async fn next(&mut self) -> Found {
        let found = match self {
            Self::Once(answer) => {
                let found = answer.await;
                *self = Self::Over;
                return found;
            }
            Self::Notify(listener) => return listener.ready().await,
            Self::Channel(reader) => channel_ready(reader).await,
            Self::Over => std::future::pending().await,
        };
        match found {
            Some(found) => found,
            None => {
                *self = Self::Over;
                std::future::pending().await
            }
        }
    }
}

/// `None` at the end of the channel: the exit, if it is one, is told by the keeper.
async fn channel_ready(reader: &mut ChannelReader) -> Option<Found> {
    loop {
        loop {
            match reader.next_line() {
                Ok(Some(line)) if is_ready(line) => return Some(Found::Ready),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Some(Found::Never(format!("on its channel: {error}"))),
            }
        }
        match reader.fill().await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// `process.send('ready')` as Node writes it.
fn is_ready(line: &[u8]) -> bool {
    line.trim_ascii() == br#""ready""#
}
