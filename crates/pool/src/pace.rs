//! How fast a worker is, and how many tasks it may therefore hold.

use std::time::Duration;

/// A worker buffers at most this much work: enough to hide a commit and a wake-up, short enough that no task waits behind a
/// slow worker while another is idle.
pub(crate) const BUFFERED_TIME: Duration = Duration::from_millis(5);

/// Tasks claimed ahead for one worker at most: a thousand of the quickest would only make priorities coarse.
const CLAIMED_MAX: u32 = 256;

/// Weight of a new measurement in the running mean: the last ten or so decide.
const WEIGHT: f64 = 0.1;

/// The running mean of the time between two answers of a busy worker.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Seconds; `None` until the first answer.
    mean: Option<f64>,
}

impl Pace {
    /// `answers` (at least one) came within `time` of being busy.
    pub(crate) fn note(&mut self, answers: usize, time: Duration) {
        let answers = u32::try_from(answers.max(1)).unwrap_or(u32::MAX);
        let each = time.as_secs_f64() / f64::from(answers);
        self.mean = Some(match self.mean {
            None => each,
            // Many answers at once weigh like as many single ones.
            Some(mean) => {
                let kept = (1.0 - WEIGHT).powi(i32::try_from(answers).unwrap_or(i32::MAX));
                mean * kept + each * (1.0 - kept)
            }
        });
    }

    /// How many tasks the worker may have. One is buffered until the first measurement.
    pub(crate) fn room(&self, lanes: u32, prefetch: u32) -> Room {
        let fits = match self.mean {
            None => 1.0,
            Some(mean) => BUFFERED_TIME.as_secs_f64() / mean.max(1e-9),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a u32's range"
        )]
        let fits = fits.clamp(0.0, f64::from(CLAIMED_MAX)) as u32;
        let ahead = if prefetch == 0 { 0 } else { fits };
        Room {
            credit: lanes.saturating_add(prefetch.min(fits)),
            reach: lanes.saturating_add(prefetch.min(fits).max(ahead)),
        }
    }
}

/// How many tasks a worker may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    /// In its process: what it runs, and a buffer of at most `prefetch` that lasts [`BUFFERED_TIME`].
    pub credit: u32,
    /// Claimed for it, when a claim needs a commit: as many as last [`BUFFERED_TIME`]. Those beyond `credit` wait in the daemon, so
    /// that a quick worker is not idle during commits.
    pub reach: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_five_milliseconds_of_work() {
        let mut pace = Pace::default();
        let room = |pace: Pace, lanes, prefetch| {
            let Room { credit, reach } = pace.room(lanes, prefetch);
            (credit, reach)
        };
        assert_eq!(room(pace, 1, 16), (2, 2));
        pace.note(1, Duration::from_secs(1));
        assert_eq!(room(pace, 1, 16), (1, 1));
        assert_eq!(room(pace, 4, 16), (4, 4));
        pace.note(200, Duration::from_millis(200));
        assert_eq!(room(pace, 1, 16), (5, 5), "1 ms each");
        pace.note(10_000, Duration::from_millis(500));
        assert_eq!(room(pace, 1, 16), (17, 101), "50 us each");
        assert_eq!(room(pace, 2, 0), (2, 2));
        pace.note(10_000, Duration::from_millis(10));
        assert_eq!(room(pace, 1, 300), (257, 257));
    }
}
