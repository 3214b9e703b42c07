//! How unusual a value of one metric is, whatever the metric: the engine under spike and shift.
//!
//! ```text
//!            ┌ distance from the long median ─┐
//!            ├ step from the last value ──────┤   each: how rare among     weighted        how rare is     mean of the two:
//! value ────▶├ miss of the best forecaster ───┼─▶ its own sizes so far ──▶ mean of ─────▶ that mean ─────▶ decades
//!            ├ short and medium mean, moved ──┤   (Tail, in decades)       decades         itself (Tail)
//!            ├ roughness of the last 20 ──────┤
//!            └ distance from the season ──────┘
//! ```
//!
//! Nothing is assumed about the metric's unit, range or shape: a size is judged by its rank among the sizes that this metric had, and the
//! verdict by its rank among the verdicts. A metric that is wild by nature is thus judged by its own wildness. A sample costs a fixed number of steps;
//! the state is at most [`STATE_MAX`] bytes. Why these parts: `docs/design/010-detect.md`.

mod hush;
mod season;
mod tail;
mod thinned;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub use hush::{HUSH_SAMPLES, HUSH_STEP, Hush};
pub use season::Season;
pub use tail::BASELINE;

use season::Seasons;
use tail::Tail;
use thinned::Thinned;

/// Nothing is judged before so many samples.
pub const WARM_UP: u64 = 100;
/// The verdict is judged by its own history after so many more.
const WARM_UP_OWN: u64 = 50;
/// Decades from which a single metric of unknown kind is worth a look: the frozen threshold (`cargo xtask nab`).
pub const UNUSUAL: f64 = 3.2;
/// Most bytes of an engine's state in memory: 8 tails of 64 bins, 128 values twice, two rings, 216 cells.
pub const STATE_MAX: usize = 8 * 1024;
/// Values in the rings of the medium mean and of the roughness.
const RING: usize = 20;
/// Values of the short mean.
const SHORT: usize = 5;
/// Values are held within this, so that no difference overflows.
const VALUE_MAX: f64 = 1e30;
/// How much a miss counts in a forecaster's mean miss, and a value in the fast mean.
const MISS_RATE: f64 = 0.02;
const FAST_RATE: f64 = 0.2;

/// What the engine looks at. The order is that of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Distance from the median of the baseline.
    Value,
    /// Step from the value before.
    Step,
    /// Miss of the forecaster that was best lately: last value, fast mean, median or season.
    Forecast,
    /// The mean of the last 20, moved from the median.
    Medium,
    /// The mean of the last 5, moved from the median.
    Short,
    /// The mean step of the last 20.
    Roughness,
    /// Distance from what is usual at this time of day or week, or from the fast mean while no season is known.
    Season,
}

/// Parts with their weights in the mean.
const PARTS: [(Part, f64); 7] = [
    (Part::Value, 1.0),
    (Part::Step, 1.0),
    (Part::Forecast, 0.5),
    (Part::Medium, 0.5),
    (Part::Short, 1.0),
    (Part::Roughness, 1.0),
    (Part::Season, 1.0),
];
/// The mean is scaled by this before its own rarity is taken: two independent parts that agree add up.
const MEAN_SCALE: f64 = 1.0 / 3.0;

/// What is said of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// How unusual: about the decades of rarity of all parts together; 0 during the warm-up.
    pub decades: f64,
    /// What was expected: the season's value, else the median of the baseline.
    pub expected: f64,
    /// The season that `expected` comes from.
    pub season: Option<Season>,
    /// Mean of the last five values.
    pub short: f64,
    /// Samples that the baseline rests on.
    pub samples: u64,
    /// The part that was rarest.
    pub part: Part,
}

/// The state for one metric of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    samples: u64,
    last: f64,
    fast: f64,
    misses: [f64; 4],
    values: VecDeque<f64>,
    steps: VecDeque<f64>,
    median: Thinned,
    seasons: Seasons,
    tails: Vec<Tail>,
    own: Tail,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            samples: 0,
            last: 0.0,
            fast: 0.0,
            misses: [0.0; 4],
            values: VecDeque::with_capacity(RING),
            steps: VecDeque::with_capacity(RING),
            median: Thinned::default(),
            seasons: Seasons::default(),
            tails: vec![Tail::new(); PARTS.len()],
            own: Tail::new(),
        }
    }

    /// Judges `value`, seen at local time `at` (seconds since 1970), then learns it. `None` if it is not a number.
    pub fn push(&mut self, at: i64, value: f64) -> Option<Verdict> {
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        if self.samples == 0 {
            (self.last, self.fast) = (value, value);
        }
        let median = self.median.quantile(0.5).unwrap_or(0.0);
        let usual = self.seasons.usual(at);
        let seasonal = usual.map_or(self.fast, |(usual, _)| usual);
        ring(&mut self.values, value);
        ring(&mut self.steps, (value - self.last).abs());
        let forecasts = [self.last, self.fast, median, seasonal];
        let short =
            self.values.iter().rev().take(SHORT).sum::<f64>() / self.values.len().min(SHORT) as f64;
        let sizes = [
            value - median,
            value - self.last,
            value - forecasts[self.best_forecaster()],
            mean(&self.values) - median,
            short - median,
            mean(&self.steps),
            value - seasonal,
        ];
        let (decades, part) = self.judge(&sizes);
        let verdict = Verdict {
            decades,
            expected: usual.map_or(median, |(usual, _)| usual),
            season: usual.map(|(_, season)| season),
            short,
            samples: self.samples.min(u64::from(BASELINE)),
            part,
        };
        self.learn(at, value, &forecasts);
        Some(verdict)
    }

    /// The value below which `share` (0..1) of the baseline lies; `None` while there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.median.quantile(share)
    }

    /// Share of the baseline that lies above `value`, 0..1.
    #[must_use]
    pub fn share_above(&self, value: f64) -> f64 {
        self.median.share_above(value)
    }

    /// What is usual at local time `at` (seconds), and for which season; `None`: not enough history.
    #[must_use]
    pub fn usual(&self, at: i64) -> Option<(f64, Season)> {
        self.seasons.usual(at)
    }

    /// Bytes of the state, the vectors' included.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let tails = (self.tails.len() + 1) * (size_of::<Tail>() + 64 * size_of::<f32>());
        let rings = (self.values.capacity() + self.steps.capacity()) * size_of::<f64>();
        size_of::<Self>() + tails + rings + 2 * 128 * size_of::<f32>() + (48 + 168) * 12
    }

    fn judge(&mut self, sizes: &[f64; 7]) -> (f64, Part) {
        let (mut sum, mut rarest, mut part) = (0.0, 0.0, Part::Value);
        let warm = self.samples >= WARM_UP;
        for ((name, weight), (tail, size)) in PARTS.iter().zip(self.tails.iter_mut().zip(sizes)) {
            let size = size.abs();
            if warm {
                let decades = tail.decades(size);
                sum += weight * decades;
                if decades > rarest {
                    (rarest, part) = (decades, *name);
                }
            }
            tail.add(size);
        }
        if !warm {
            return (0.0, part);
        }
        let mean = sum * MEAN_SCALE;
        let size = mean.exp2();
        let judged = self.samples >= WARM_UP + WARM_UP_OWN;
        let own = if judged { self.own.decades(size) } else { 0.0 };
        self.own.add(size);
        (f64::midpoint(mean, own), part)
    }

    fn best_forecaster(&self) -> usize {
        (0..self.misses.len())
            .min_by(|a, b| self.misses[*a].total_cmp(&self.misses[*b]))
            .unwrap_or(0)
    }

    fn learn(&mut self, at: i64, value: f64, forecasts: &[f64; 4]) {
        for (miss, forecast) in self.misses.iter_mut().zip(forecasts) {
            *miss += MISS_RATE * ((value - forecast).abs() - *miss);
        }
        self.fast += FAST_RATE * (value - self.fast);
        self.last = value;
        self.median.add(value);
        self.seasons.add(at, value);
        self.samples += 1;
    }
}

fn ring(ring: &mut VecDeque<f64>, value: f64) {
    if ring.len() == RING {
        ring.pop_front();
    }
    ring.push_back(value);
}

fn mean(values: &VecDeque<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests;
