//! A sample's number.

use std::fmt;

/// A number as both formats write it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole one.
    Uint(u64),
    /// A whole one that may be negative.
    Int(i64),
    /// Any.
    Float(f64),
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Uint(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Uint(n.into())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Self::Float(n)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Uint(yes.into())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uint(n) => n.fmt(f),
            Self::Int(n) => n.fmt(f),
            Self::Float(n) if n.is_nan() => f.write_str("NaN"),
            Self::Float(n) if n.is_infinite() => {
                f.write_str(if *n > 0.0 { "+Inf" } else { "-Inf" })
            }
            Self::Float(n) => n.fmt(f),
        }
    }
}
