//! Texts that come from outside: arguments, paths, names. They may be anything the kernel accepts, and some are secret.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hash::{hex, unhex_all};

/// A text of the system: UTF-8 mostly, any bytes but NUL in truth.
///
/// Written as a JSON string, or as `{"hex":"…"}` where it is not UTF-8: two texts never look the same in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Text {
    /// Valid UTF-8.
    Utf8(String),
    /// Not valid UTF-8.
    Bytes(Vec<u8>),
}

/// One argument of a command line: shown, or, where the policy says `secret`, only as a keyed digest.
///
/// The digest (`{"hmac":"…"}`, [`SecretDigests`](crate::SecretDigests)) is the same for the same value in one log, so that
/// one can ask where a leaked token was used without the log holding it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arg {
    /// As it was given.
    Shown(Text),
    /// HMAC-SHA256 of it with the log's key.
    Secret([u8; 32]),
}

impl Text {
    /// From any bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_owned()),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Utf8(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Utf8(text.to_owned())
    }
}

impl From<&OsStr> for Text {
    fn from(text: &OsStr) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<&Path> for Text {
    fn from(path: &Path) -> Self {
        Self::from(path.as_os_str())
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Shown(text.into())
    }
}

/// For people: whatever is not printable ASCII or a printable letter elsewhere is escaped, as in the log itself.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8(text) => f.write_str(&crate::canonical::shown(text)),
            Self::Bytes(bytes) => write!(f, "hex:{}", hex(bytes)),
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shown(text) => text.fmt(f),
            Self::Secret(digest) => write!(f, "hmac:{}", hex(digest)),
        }
    }
}

/// The forms on the wire.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Plain(String),
    Marked(Marked),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Marked {
    Hex(String),
    Hmac(String),
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Utf8(text) => to.serialize_str(text),
            Self::Bytes(bytes) => Marked::Hex(hex(bytes)).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Arg::deserialize(from)? {
            Arg::Shown(text) => Ok(text),
            Arg::Secret(_) => Err(de::Error::custom("a digest stands where a text is expected")),
        }
    }
}

impl Serialize for Arg {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Shown(text) => text.serialize(to),
            Self::Secret(digest) => Marked::Hmac(hex(digest)).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Arg {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("not lower-case hexadecimal digits");
        Ok(match Form::deserialize(from)? {
            Form::Plain(text) => Self::Shown(Text::Utf8(text)),
            Form::Marked(Marked::Hex(text)) => {
                Self::Shown(Text::Bytes(unhex_all(text.as_bytes()).ok_or_else(wrong)?))
            }
            Form::Marked(Marked::Hmac(text)) => {
                Self::Secret(crate::hash::unhex(text.as_bytes()).ok_or_else(wrong)?)
            }
        })
    }
}
