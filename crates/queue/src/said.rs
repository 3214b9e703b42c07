//! What an attempt says of itself while it runs: how it is gathered, and how much of it is kept.
//!
//! ```text
//! worker's words ─► Saying of what was not told yet ─(4 times a second)─► Saying of the attempt ─(each SAVE_EVERY)─► store
//!                     bounded, newest kept                                  bounded, newest kept   └(its end)─► with the outcome
//! ```
//!
//! Of progress only the newest is kept, of lines the newest that fit; how many there were in all is always known. A line has a
//! number (from 1, in its attempt), so whoever follows sees what was dropped.

use std::time::Duration;

use ganger_store::{Progress, Said, SaidLine};

/// Lines kept of one attempt: several screens of the newest.
pub const LINES_MAX: usize = 500;
/// Their bytes: what a row of the store can be rewritten with now and then, and what 1,000 attempts at once may hold (32 MiB).
pub const BYTES_MAX: usize = 32 << 10;
/// The longest line kept; more is cut.
pub const LINE_BYTES_MAX: usize = 2 << 10;
/// The largest progress kept: it is to be looked at, not to carry data.
pub const PROGRESS_BYTES_MAX: usize = 1 << 10;
/// The longest message of a progress; more is cut.
pub const MESSAGE_BYTES_MAX: usize = 256;
/// Between two writes of what one running attempt said: what a daemon's death may lose of it. An attempt that is shorter
/// than this costs no write of its own.
pub const SAVE_EVERY: Duration = Duration::from_secs(5);

/// What was said, within its bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saying {
    said: Said,
    /// Of the lines.
    bytes: usize,
    /// A write of it is due.
    pub(crate) save_due: bool,
}

impl Saying {
    /// What was stored of an attempt that goes on.
    #[must_use]
    pub fn stored(said: Said) -> Self {
        let bytes = said.lines.iter().map(|line| line.text.len()).sum();
        Self { said, bytes, save_due: false }
    }

    /// As it is now.
    #[must_use]
    pub const fn said(&self) -> &Said {
        &self.said
    }

    /// As it is now.
    #[must_use]
    pub fn into_said(self) -> Said {
        self.said
    }

    /// The newest progress: JSON text, and what the attempt is at. One that is too large leaves the one before.
    pub fn progress(&mut self, value: &str, message: Option<&str>, at_ms: u64) {
        if value.len() > PROGRESS_BYTES_MAX {
            self.said.refused += 1;
            return;
        }
        let message =
            message.filter(|text| !text.is_empty()).map(|text| cut(text, MESSAGE_BYTES_MAX));
        self.said.progress = Some(Progress { value: value.into(), message, at_ms });
    }

    /// A text of one or more lines.
    pub fn log(&mut self, text: &str, at_ms: u64) {
        let text = text.strip_suffix('\n').unwrap_or(text);
        for line in text.split('\n') {
            let text = cut(line.trim_end_matches('\r'), LINE_BYTES_MAX);
            self.said.total += 1;
            self.keep(SaidLine { at_ms, text });
        }
    }

    /// What was said after this.
    pub fn absorb(&mut self, more: Self) {
        let Said { progress, lines, total, refused } = more.said;
        if let Some(progress) = progress {
            self.said.progress = Some(progress);
        }
        self.said.refused += refused;
        if (lines.len() as u64) < total {
            // Some between ours and these were dropped: what is kept has no holes.
            self.said.lines.clear();
            self.bytes = 0;
        }
        self.said.total += total;
        lines.into_iter().for_each(|line| self.keep(line));
    }

    fn keep(&mut self, line: SaidLine) {
        self.bytes += line.text.len();
        self.said.lines.push_back(line);
        while self.said.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.said.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }
}

/// At most so many bytes, with a sign where it was cut.
fn cut(text: &str, max: usize) -> Box<str> {
    const SIGN: char = '…';
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max - SIGN.len_utf8());
    format!("{}{SIGN}", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(said: &Said) -> Vec<u64> {
        said.lines.iter().map(|line| line.text.parse().unwrap()).collect()
    }

    #[test]
    fn only_the_newest_progress_is_kept_and_a_huge_one_is_counted() {
        let mut saying = Saying::default();
        saying.progress("10", Some("begun"), 1);
        saying.progress("42.5", None, 2);
        saying.progress(&"9".repeat(PROGRESS_BYTES_MAX + 1), None, 3);
        let progress = saying.said().progress.clone().unwrap();
        assert_eq!((progress.percent(), progress.message, progress.at_ms), (Some(42.5), None, 2));
        assert_eq!(saying.said().refused, 1);
        for (value, percent) in
            [("0", Some(0.0)), ("101", None), ("{\"a\":1}", None), ("\"5\"", None)]
        {
            saying.progress(value, Some(&"é".repeat(500)), 4);
            let progress = saying.said().progress.as_ref().unwrap();
            assert_eq!(progress.percent(), percent, "{value}");
            assert!(progress.message.as_ref().unwrap().len() <= MESSAGE_BYTES_MAX);
        }
    }

    #[test]
    fn a_text_of_several_lines_is_several_lines_and_long_ones_are_cut() {
        let mut saying = Saying::default();
        saying.log("a\r\nb\n\nc\n", 7);
        let lines: Vec<_> = saying.said().lines.iter().map(|line| &*line.text).collect();
        assert_eq!((lines, saying.said().total), (vec!["a", "b", "", "c"], 4));
        saying.log(&"x".repeat(5_000), 8);
        let last = saying.said().lines.back().unwrap();
        assert_eq!((last.text.len(), last.text.ends_with('…')), (LINE_BYTES_MAX, true));
    }

    #[test]
    fn a_flood_stays_bounded() {
        let mut saying = Saying::default();
        for n in 0..100_000_u64 {
            saying.progress(&n.to_string(), None, n);
            saying.log(&format!("{n} {}", "y".repeat(usize::try_from(n % 3_000).unwrap())), n);
        }
        let said = saying.said();
        assert_eq!((said.total, said.progress.as_ref().unwrap().at_ms), (100_000, 99_999));
        let bytes: usize = said.lines.iter().map(|line| line.text.len()).sum();
        assert!(bytes <= BYTES_MAX && said.lines.len() <= LINES_MAX);
        assert_eq!(said.dropped(), 100_000 - said.lines.len() as u64);
    }

    proptest! {
        /// However the same words are cut into messages, what is kept is without holes and ends with the last.
        #[test]
        fn parts_make_a_whole(parts in proptest::collection::vec(0..900_u64, 1..8)) {
            let (mut whole, mut n) = (Saying::default(), 0);
            for part in parts {
                let mut more = Saying::default();
                for _ in 0..part {
                    n += 1;
                    more.log(&n.to_string(), n);
                }
                whole.absorb(more);
                let kept = numbers(whole.said());
                let first = n + 1 - kept.len() as u64;
                prop_assert_eq!(kept, (first..=n).collect::<Vec<_>>());
                prop_assert_eq!(whole.said().total, n);
                prop_assert!(n == 0 || !whole.said().lines.is_empty());
            }
            let again = Saying::stored(whole.said().clone());
            prop_assert_eq!(again.bytes, whole.bytes);
        }
    }
}
