//! The count of passed sockets that are still open, by the key of the server that made them.
//!
//! Who passes a socket with a `key` asks later how many of that key are open (`NODE_SOCKET_GET_COUNT`), or to be told when the last
//! is closed (`NODE_SOCKET_NOTIFY_CLOSE`). This answers for the sockets we were given, and asks about those we gave: a drain that
//! needs no word of the program.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Refused, SocketWord};
use crate::envelope::Garbage;

/// Keys kept for one peer: its listening servers. A program has a few.
const KEYS_MAX: usize = 1024;

/// What the peer said about sockets that we gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAnswer {
    /// It has so many of this key open.
    Open {
        /// The key they were sent with.
        key: String,
        /// How many.
        count: u64,
    },
    /// It has none of this key any more.
    AllClosed {
        /// The key they were sent with.
        key: String,
    },
}

#[derive(Debug, Default)]
struct Held {
    open: u64,
    /// Say so when the last is closed.
    notify: bool,
}

/// The books of one channel.
#[derive(Debug, Default)]
pub struct Sockets {
    held: BTreeMap<String, Held>,
}

#[derive(Deserialize)]
struct Wire {
    key: String,
    #[serde(default)]
    count: Option<u64>,
}

impl Sockets {
    /// A socket with this key came.
    pub fn opened(&mut self, key: &str) {
        if let Some(held) = self.held.get_mut(key) {
            held.open += 1;
        } else if self.held.len() < KEYS_MAX {
            self.held.insert(key.to_owned(), Held { open: 1, notify: false });
        }
    }

    /// One of them is closed: what to send.
    pub fn closed(&mut self, key: &str) -> Option<Vec<u8>> {
        let held = self.held.get_mut(key)?;
        held.open = held.open.saturating_sub(1);
        let done = held.open == 0;
        let tell = done && held.notify;
        if done {
            self.held.remove(key);
        }
        tell.then(|| word("NODE_SOCKET_ALL_CLOSED", key, None))
    }

    /// Takes a `NODE_SOCKET_…` message: what to send, and what it said.
    ///
    /// # Errors
    /// [`Refused::Broken`]: it has no key, or a count without a number.
    pub fn on_message(
        &mut self,
        said: SocketWord,
        body: &[u8],
    ) -> Result<(Option<Vec<u8>>, Option<SocketAnswer>), Refused> {
        let broken = |why: &str| Refused::from(Garbage::new(body, why));
        let wire: Wire = serde_json::from_slice(body).map_err(|e| broken(&e.to_string()))?;
        let Wire { key, count } = wire;
        let open = self.held.get(&key).map_or(0, |held| held.open);
        Ok(match said {
            SocketWord::GetCount => (Some(word("NODE_SOCKET_COUNT", &key, Some(open))), None),
            SocketWord::NotifyClose => match self.held.get_mut(&key) {
                Some(held) => {
                    held.notify = true;
                    (None, None)
                }
                None => (Some(word("NODE_SOCKET_ALL_CLOSED", &key, None)), None),
            },
            SocketWord::Count => {
                let count = count.ok_or_else(|| broken("a count without a number"))?;
                (None, Some(SocketAnswer::Open { key, count }))
            }
            SocketWord::AllClosed => (None, Some(SocketAnswer::AllClosed { key })),
        })
    }

    /// The question how many sockets of a key the peer has open.
    #[must_use]
    pub fn ask_count(key: &str) -> Vec<u8> {
        word("NODE_SOCKET_GET_COUNT", key, None)
    }

    /// The wish to be told when the peer has none of a key any more.
    #[must_use]
    pub fn ask_notice(key: &str) -> Vec<u8> {
        word("NODE_SOCKET_NOTIFY_CLOSE", key, None)
    }
}

fn word(cmd: &str, key: &str, count: Option<u64>) -> Vec<u8> {
    let key = serde_json::Value::from(key).to_string();
    let count = count.map(|count| format!(r#","count":{count}"#)).unwrap_or_default();
    format!(r#"{{"cmd":"{cmd}","key":{key}{count}}}"#).into_bytes()
}
