//! `/proc/PID/stat` (proc_pid_stat(5)): one line, the name in brackets, then numbers.

use super::text::{number, unspaced};
use crate::process::{Name, State};

/// Nanoseconds of a clock tick of `/proc`: hundredths of a second everywhere (USER_HZ).
pub(crate) const TICK_NS: u64 = 10_000_000;

/// What is used of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatLine {
    pub(crate) name: Name,
    pub(crate) state: State,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) minor: u64,
    pub(crate) major: u64,
    /// Nanoseconds, to a hundredth of a second.
    pub(crate) cpu_ns: u64,
    /// The same three of children that were waited for, and theirs.
    pub(crate) waited_minor: u64,
    pub(crate) waited_major: u64,
    pub(crate) waited_ns: u64,
    pub(crate) threads: u32,
    /// Clock ticks since the machine's start.
    pub(crate) birth: u64,
    /// Pages.
    pub(crate) resident: u64,
}

impl StatLine {
    /// `None`: not such a line.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|c| *c == b'(')?;
        // The name may hold anything; its closing bracket is the last one.
        let close = line.iter().rposition(|c| *c == b')').filter(|close| *close > open)?;
        let rest = unspaced(&line[close + 1..]);
        let state = State::of(*rest.first()?);
        // Fields by their number in proc(5); the first behind the state is 4.
        let mut fields = [0_u64; 25];
        let mut text = &rest[1..];
        for field in &mut fields[4..] {
            let (value, behind) = number(unspaced(text))?;
            *field = value;
            text = behind;
        }
        let small = |field: usize| u32::try_from(fields[field]).unwrap_or(u32::MAX);
        Some(Self {
            name: Name::new(&line[open + 1..close]),
            state,
            parent: small(4),
            session: small(6),
            minor: fields[10],
            waited_minor: fields[11],
            major: fields[12],
            waited_major: fields[13],
            cpu_ns: fields[14].saturating_add(fields[15]).saturating_mul(TICK_NS),
            waited_ns: fields[16].saturating_add(fields[17]).saturating_mul(TICK_NS),
            threads: small(20),
            birth: fields[22],
            resident: fields[24],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &[u8] = b"7 (a) b) S 1 7 6 0 -1 4194560 9 8 5 6 150 50 20 -3 20 0 3 0 4711 9999 12 18446744073709551615 1";

    #[test]
    fn a_line_is_read() {
        let line = StatLine::parse(LINE).unwrap();
        assert_eq!(line.name.to_string(), "a) b");
        assert_eq!((line.state, line.parent, line.session), (State::Sleeping, 1, 6));
        assert_eq!((line.minor, line.waited_minor, line.major, line.waited_major), (9, 8, 5, 6));
        assert_eq!((line.cpu_ns, line.waited_ns), (2_000_000_000, 200_000_000));
        assert_eq!((line.threads, line.birth, line.resident), (3, 4711, 12));
    }

    #[test]
    fn half_a_line_is_none() {
        for length in 0..LINE.len() - 24 {
            assert_eq!(StatLine::parse(&LINE[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fall(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = StatLine::parse(&text);
        }
    }
}
