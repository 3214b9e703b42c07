//! How fast a worker is, and how many tasks it may therefore hold.

use std::time::Duration;

/// A worker buffers at most this much work: enough to hide a commit and a wake-up, short enough that no task waits behind a
/// slow worker while another is idle.
pub(crate) const BUFFERED_TIME: Duration = Duration::from_millis(5);

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

    /// Tasks the worker may hold: what it runs at once, and a buffer of at most `prefetch` that lasts [`BUFFERED_TIME`]. One
    /// is buffered until the first measurement.
    pub(crate) fn credit(&self, lanes: u32, prefetch: u32) -> u32 {
        let fits = match self.mean {
            None => 1.0,
            Some(mean) => BUFFERED_TIME.as_secs_f64() / mean.max(1e-9),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a u32's range"
        )]
        let fits = fits.clamp(0.0, f64::from(u32::MAX)) as u32;
        lanes.saturating_add(prefetch.min(fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_five_milliseconds_of_work() {
        let mut pace = Pace::default();
        assert_eq!(pace.credit(1, 16), 2);
        pace.note(1, Duration::from_secs(1));
        assert_eq!(pace.credit(1, 16), 1);
        assert_eq!(pace.credit(4, 16), 4);
        pace.note(200, Duration::from_millis(200));
        assert_eq!(pace.credit(1, 16), 5, "1 ms each");
        pace.note(10_000, Duration::from_millis(30));
        assert_eq!(pace.credit(1, 16), 17);
        assert_eq!(pace.credit(2, 0), 2);
    }
}
