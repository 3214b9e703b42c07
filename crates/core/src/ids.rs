//! Identifiers. Each is a type of its own, so that one kind can't stand in for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Crockford's base32 alphabet, lower case: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 13 × 5 bits hold the 63 bits of a task id.
const TASK_ID_CHARS: usize = 13;
/// Milliseconds since this moment (2024-01-01T00:00:00Z) are the upper 41 bits of a task id: good until 2093.
pub const TASK_ID_ORIGIN_MS: u64 = 1_704_067_200_000;
const NODE_BITS: u32 = 8;
const SEQ_BITS: u32 = 14;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}: {why}")]
pub struct IdError {
    given: String,
    what: &'static str,
    why: &'static str,
}

/// A task: 41 bits of time, 8 of node, 14 of sequence. Never reused, ordered by creation on one node.
///
/// Written as 13 characters of base32 and never as a JSON number: 63 bits don't fit a JavaScript number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(i64);

impl TaskId {
    /// From the stored integer. Negative values are refused.
    #[must_use]
    pub const fn from_raw(raw: i64) -> Option<Self> {
        if raw < 0 { None } else { Some(Self(raw)) }
    }

    /// The integer that the store keeps.
    #[must_use]
    pub const fn raw(self) -> i64 {
        self.0
    }

    /// When it was drawn; wall clock, milliseconds since 1970.
    #[must_use]
    pub const fn drawn_at_ms(self) -> u64 {
        TASK_ID_ORIGIN_MS + (self.0.unsigned_abs() >> (NODE_BITS + SEQ_BITS))
    }

    /// The lowest id that could be drawn at this moment: all that were drawn before are below it. Wall clock, milliseconds
    /// since 1970.
    #[must_use]
    pub const fn first_at(ms: u64) -> Self {
        let last = u64::MAX >> (NODE_BITS + SEQ_BITS + 1);
        let since = ms.saturating_sub(TASK_ID_ORIGIN_MS);
        let since = if since > last { last } else { since };
        Self((since << (NODE_BITS + SEQ_BITS)).cast_signed())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; TASK_ID_CHARS];
        let mut rest = self.0.cast_unsigned();
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[usize::try_from(rest & 31).unwrap_or(0)];
            rest >>= 5;
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let fail = |why| IdError { given: s.chars().take(40).collect(), what: "a task id", why };
        if s.len() != TASK_ID_CHARS {
            return Err(fail("it must have 13 characters"));
        }
        let mut raw: u64 = 0;
        for byte in s.bytes() {
            let byte = byte.to_ascii_lowercase();
            let digit = ALPHABET.iter().position(|a| *a == byte).ok_or_else(|| {
                fail("it has a character outside base32 (0-9, a-z without i l o u)")
            })?;
            if raw >> 59 != 0 {
                return Err(fail("it is out of range"));
            }
            raw = (raw << 5) | digit as u64;
        }
        i64::try_from(raw).map(Self).map_err(|_| fail("it is out of range"))
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Makes task ids that only go up, also when the wall clock goes back.
#[derive(Debug, Clone)]
pub struct TaskIdSource {
    node: u8,
    last_ms: u64,
    seq: u32,
}

impl TaskIdSource {
    /// Starts above `floor`, the highest id ever made for this state (`None` for a new one).
    #[must_use]
    pub fn new(node: u8, floor: Option<TaskId>) -> Self {
        let last_ms =
            floor.map_or(0, |id| (id.raw().cast_unsigned() >> (NODE_BITS + SEQ_BITS)) + 1);
        Self { node, last_ms, seq: 0 }
    }

    /// The next id. `now_unix_ms` is wall-clock time in milliseconds since 1970.
    pub fn next(&mut self, now_unix_ms: u64) -> TaskId {
        let now = now_unix_ms.saturating_sub(TASK_ID_ORIGIN_MS);
        if now > self.last_ms {
            self.last_ms = now;
            self.seq = 0;
        } else if self.seq + 1 >= 1 << SEQ_BITS {
            self.last_ms += 1;
            self.seq = 0;
        } else {
            self.seq += 1;
        }
        let raw = (self.last_ms << (NODE_BITS + SEQ_BITS))
            | (u64::from(self.node) << SEQ_BITS)
            | u64::from(self.seq);
        TaskId(i64::try_from(raw).unwrap_or(i64::MAX))
    }
}

/// One spawn of a child, chosen by the daemon: `epoch << 32 | counter`, so it never repeats within a state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpawnId(pub u64);

impl SpawnId {
    /// The `counter`-th spawn of a daemon's `epoch`.
    #[must_use]
    pub const fn new(epoch: u32, counter: u32) -> Self {
        Self(((epoch as u64) << 32) | counter as u64)
    }
}

impl fmt::Display for SpawnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Fencing token of an attempt: every write about the attempt carries it, a stale one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// Goes up by one at each start of a daemon on this state.
    pub epoch: u32,
    /// Goes up by one at each claim of that daemon.
    pub counter: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

impl FromStr for Token {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let fail = || IdError {
            given: s.to_owned(),
            what: "a fencing token",
            why: "expected epoch.counter",
        };
        let (epoch, counter) = s.split_once('.').ok_or_else(fail)?;
        Ok(Self {
            epoch: epoch.parse().map_err(|_| fail())?,
            counter: counter.parse().map_err(|_| fail())?,
        })
    }
}

/// One state folder, for ever. Children carry it in their environment, so that leftovers can be told from strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateId(pub [u8; 16]);

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for StateId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let fail =
            || IdError { given: s.to_owned(), what: "a state id", why: "expected 32 hex digits" };
        if s.len() != 32 || !s.is_ascii() {
            return Err(fail());
        }
        let mut id = [0; 16];
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&s[at * 2..at * 2 + 2], 16).map_err(|_| fail())?;
        }
        Ok(Self(id))
    }
}

impl Serialize for StateId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StateId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// One process place of a service or pool: `web#1`. Slots count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceId {
    /// The service's, pool's or command's name.
    pub name: String,
    /// Which of its places, from 1.
    pub slot: u32,
}

impl InstanceId {
    /// The instance in a place.
    #[must_use]
    pub fn new(name: impl Into<String>, slot: u32) -> Self {
        Self { name: name.into(), slot }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_id_of_a_moment_is_its_lowest() {
        let now = TASK_ID_ORIGIN_MS + 5_000;
        let mut source = TaskIdSource::new(0, None);
        let (before, first) = (source.next(now - 1), source.next(now));
        assert!(before < TaskId::first_at(now) && TaskId::first_at(now) <= first);
        assert_eq!((first.drawn_at_ms(), TaskId::first_at(now).drawn_at_ms()), (now, now));
        assert_eq!(TaskId::first_at(0).raw(), 0);
        assert!(TaskId::first_at(u64::MAX).raw() > first.raw());
    }

    proptest! {
        #[test]
        fn task_ids_read_back(raw in 0..=i64::MAX) {
            let id = TaskId::from_raw(raw).unwrap();
            prop_assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
            prop_assert_eq!(id.to_string().len(), 13);
        }

        #[test]
        fn ids_only_go_up_whatever_the_clock_does(times in prop::collection::vec(0u64..3_900_000_000_000, 1..200)) {
            let mut source = TaskIdSource::new(3, None);
            let mut last = None;
            for now in times {
                let id = source.next(now);
                prop_assert!(Some(id) > last);
                last = Some(id);
            }
            let mut again = TaskIdSource::new(3, last);
            prop_assert!(Some(again.next(0)) > last);
        }
    }

    #[test]
    fn wrong_ids_are_refused() {
        for text in ["", "zzzzzzzzzzzzz", "000000000000u", "00000000000000"] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
        assert!("1.x".parse::<Token>().is_err());
        assert!("é".repeat(16).parse::<StateId>().is_err());
    }
}
