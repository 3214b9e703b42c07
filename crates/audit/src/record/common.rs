//! Words that several records share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hash::{hex, random, unhex};
use crate::text::Text;

/// One run: 128 random bits, 32 hexadecimal digits. Not guessable, so that a result can't be asked for by counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub [u8; 16]);

impl RunId {
    /// A new one.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn random() -> std::io::Result<Self> {
        let mut id = [0; 16];
        random(&mut id)?;
        Ok(Self(id))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = unhex(text.as_bytes()).map(Self);
        id.ok_or_else(|| "a run's id is 32 lower-case hexadecimal digits".to_owned())
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Who asked, by what the kernel says of the connection (`SO_PEERCRED`), not by what the caller says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Principal {
    /// Name that policies know: a user's name, a token's name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id at the other end when it connected.
    pub pid: u32,
    /// Its executable then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<Text>,
    /// Number of the connection, counted by the daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
}

/// Which file is run, pinned: what stands under a path can change, these can't all stay the same then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Absolute path.
    pub path: Text,
    /// Device number, as stat(2) gives it.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the inode, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// SHA-256 of the file, hex, where the policy pins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The interpreter of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<Box<Program>>,
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Odd.
    Low,
    /// Somebody tries.
    Medium,
    /// Somebody tries well.
    High,
    /// A boundary did not hold.
    Critical,
}
