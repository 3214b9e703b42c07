//! Priority of a task: 0-255, a larger number is taken first.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 0-255; larger first, first in first out inside one value. `high` = 192, `normal` = 128, `low` = 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(pub u8);

impl Priority {
    /// `high`.
    pub const HIGH: Self = Self(192);
    /// `normal`, the default.
    pub const NORMAL: Self = Self(128);
    /// `low`.
    pub const LOW: Self = Self(64);
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HIGH => f.pad("high"),
            Self::NORMAL => f.pad("normal"),
            Self::LOW => f.pad("low"),
            Self(n) => f.pad(&n.to_string()),
        }
    }
}

/// A text that is no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a priority: use high, normal, low or a number from 0 to 255 (larger first)")]
pub struct PriorityError(String);

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(s: &str) -> Result<Self, PriorityError> {
        match s {
            "high" => Ok(Self::HIGH),
            "normal" => Ok(Self::NORMAL),
            "low" => Ok(Self::LOW),
            other => other.parse().map(Self).map_err(|_| PriorityError(other.to_owned())),
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::HIGH | Self::NORMAL | Self::LOW => s.collect_str(self),
            Self(n) => s.serialize_u8(n),
        }
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Priority;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("high, normal, low or a number from 0 to 255")
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<Priority, E> {
                v.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Priority, E> {
                u8::try_from(v).map(Priority).map_err(|_| E::custom(PriorityError(v.to_string())))
            }

            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Priority, E> {
                u8::try_from(v).map(Priority).map_err(|_| E::custom(PriorityError(v.to_string())))
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_read_back() {
        for text in ["\"high\"", "\"low\"", "7", "0", "255"] {
            let priority: Priority = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&priority).unwrap(), text);
        }
        assert!(serde_json::from_str::<Priority>("256").is_err());
        assert!(serde_json::from_str::<Priority>("\"urgent\"").is_err());
        assert!(Priority::HIGH > Priority::NORMAL);
    }
}
