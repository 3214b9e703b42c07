//! Numbers that only grow and may be added up over processes.

use std::ops::{Add, AddAssign};

use ganger_core::Usage;

/// What was used since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Processor time in nanoseconds, user and system.
    pub cpu_ns: u64,
    /// Page faults that needed no I/O.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
    /// Bytes that storage had to give.
    pub read_bytes: u64,
    /// Bytes that storage has to take.
    pub write_bytes: u64,
}

impl Counters {
    /// Number by number, 0 where `other` is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(other.cpu_ns),
            minor_faults: self.minor_faults.saturating_sub(other.minor_faults),
            major_faults: self.major_faults.saturating_sub(other.major_faults),
            read_bytes: self.read_bytes.saturating_sub(other.read_bytes),
            write_bytes: self.write_bytes.saturating_sub(other.write_bytes),
        }
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.max(other.cpu_ns),
            minor_faults: self.minor_faults.max(other.minor_faults),
            major_faults: self.major_faults.max(other.major_faults),
            read_bytes: self.read_bytes.max(other.read_bytes),
            write_bytes: self.write_bytes.max(other.write_bytes),
        }
    }

    /// `part` of `whole` of each, rounded down; nothing where `whole` is 0.
    #[must_use]
    pub fn share(self, part: u64, whole: u64) -> Self {
        let of = |n: u64| match whole {
            0 => 0,
            _ => u64::try_from(u128::from(n) * u128::from(part.min(whole)) / u128::from(whole))
                .unwrap_or(n),
        };
        Self {
            cpu_ns: of(self.cpu_ns),
            minor_faults: of(self.minor_faults),
            major_faults: of(self.major_faults),
            read_bytes: of(self.read_bytes),
            write_bytes: of(self.write_bytes),
        }
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_add(other.cpu_ns),
            minor_faults: self.minor_faults.saturating_add(other.minor_faults),
            major_faults: self.major_faults.saturating_add(other.major_faults),
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            write_bytes: self.write_bytes.saturating_add(other.write_bytes),
        }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl From<&Usage> for Counters {
    /// What `wait4` told. Bytes stay 0: rusage has none.
    fn from(usage: &Usage) -> Self {
        Self {
            cpu_ns: usage.user_us.saturating_add(usage.system_us).saturating_mul(1_000),
            minor_faults: usage.minor_faults,
            major_faults: usage.major_faults,
            read_bytes: 0,
            write_bytes: 0,
        }
    }
}
