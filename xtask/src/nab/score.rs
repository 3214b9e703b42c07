//! NAB's scorer, written after its published rules (Lavin and Ahmad 2015, and the text of numenta/NAB's wiki).
//!
//! ```text
//! a point in a window        2/(1+e^(5p)) - 1, p = -1 at the window's start .. ~0 at its end, scaled so that the start is worth 1
//! a point behind a window    the same curve, p = distance / width: a late alarm costs little, one further than 3 widths -1
//! a point before any window  -1
//! of a file                  sum over windows of the best point above the threshold (none: -fn) + fp * sum of the points outside
//! of the corpus              100 * (sum - null) / (perfect - null); null finds nothing, perfect finds each window at its start
//! ```
//!
//! Points of the probation (the first 15 % of a file, at most 750) count for nothing.

/// What a profile pays and fines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) tp: f64,
    pub(crate) fp: f64,
    pub(crate) missed: f64,
}

/// The three published profiles.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile { name: "standard", tp: 1.0, fp: 0.11, missed: 1.0 },
    Profile { name: "low FP", tp: 1.0, fp: 0.22, missed: 1.0 },
    Profile { name: "low FN", tp: 1.0, fp: 0.11, missed: 2.0 },
];

/// One series with what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// `folder/file.csv`.
    pub(crate) name: String,
    /// Seconds since 1970, as the file says (local time, no zone).
    pub(crate) at: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// First and last index of each labelled window.
    pub(crate) windows: Vec<(usize, usize)>,
}

impl Series {
    pub(crate) fn folder(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Points at the start that count for nothing.
    pub(crate) fn probation(&self) -> usize {
        self.at.len().min(5_000) * 15 / 100
    }
}

/// A point's worth, before weights.
#[derive(Debug, Clone, Copy)]
struct Point {
    score: f64,
    /// 0..1 inside a window, -1..0 outside.
    worth: f64,
    /// Number of the window in the corpus.
    window: Option<usize>,
}

/// A detector's scores over a corpus, ready to be judged at any threshold.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    points: Vec<Point>,
    windows: usize,
}

/// A threshold and what it earns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Best {
    pub(crate) threshold: f64,
    /// Normalised: 0 finds nothing, 100 is perfect.
    pub(crate) score: f64,
}

/// What happened at one threshold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) windows: usize,
    pub(crate) found: usize,
    pub(crate) false_points: usize,
    pub(crate) points: usize,
}

fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

impl Sweep {
    /// Adds one file: `scores` has one entry a point.
    pub(crate) fn add(&mut self, series: &Series, scores: &[f64]) {
        let best = sigmoid(-1.0);
        let mut next = 0;
        let mut behind: Option<(usize, f64)> = None;
        for (i, &score) in scores.iter().enumerate() {
            let inside = series.windows.get(next).filter(|w| (w.0..=w.1).contains(&i));
            let point = if let Some(&(from, to)) = inside {
                let width = (to - from + 1) as f64;
                let worth = sigmoid(-((to - i + 1) as f64) / width) / best;
                if i == to {
                    behind = Some((to, width));
                }
                Point { score, worth, window: Some(self.windows + next) }
            } else {
                let worth = behind
                    .map_or(-1.0, |(to, width)| sigmoid((i - to) as f64 / (width - 1.0).max(1.0)));
                Point { score, worth, window: None }
            };
            if inside.is_some_and(|w| w.1 == i) {
                next += 1;
            }
            if i >= series.probation() {
                self.points.push(point);
            }
        }
        self.windows += series.windows.len();
    }

    /// The normalised score at a threshold; a point alarms at or above it.
    pub(crate) fn at(&self, profile: &Profile, threshold: f64) -> f64 {
        let mut found = vec![None::<f64>; self.windows];
        let mut sum = 0.0;
        for point in self.points.iter().filter(|point| point.score >= threshold) {
            match point.window {
                Some(w) => found[w] = Some(found[w].unwrap_or(f64::MIN).max(point.worth)),
                None => sum += point.worth * profile.fp,
            }
        }
        sum += found
            .iter()
            .map(|w| w.map_or(-profile.missed, |worth| worth * profile.tp))
            .sum::<f64>();
        self.normalised(profile, sum)
    }

    /// The threshold that earns most on this very corpus, as NAB publishes it.
    pub(crate) fn best(&self, profile: &Profile) -> Best {
        let mut points: Vec<&Point> = self.points.iter().filter(|p| p.score > 0.0).collect();
        points.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut found = vec![None::<f64>; self.windows];
        let mut sum = -profile.missed * self.windows as f64;
        let mut best = Best { threshold: f64::INFINITY, score: self.normalised(profile, sum) };
        for (i, point) in points.iter().enumerate() {
            match point.window {
                None => sum += point.worth * profile.fp,
                Some(w) => {
                    let before = found[w].map_or(-profile.missed, |worth| worth * profile.tp);
                    found[w] = Some(found[w].unwrap_or(f64::MIN).max(point.worth));
                    sum += found[w].map_or(0.0, |worth| worth * profile.tp) - before;
                }
            }
            let last_of_its_score = points.get(i + 1).is_none_or(|next| next.score < point.score);
            let score = self.normalised(profile, sum);
            if last_of_its_score && score > best.score {
                best = Best { threshold: point.score, score };
            }
        }
        best
    }

    /// Windows found and points that alarm outside of any.
    pub(crate) fn counts(&self, threshold: f64) -> Counts {
        let mut found = vec![false; self.windows];
        let mut counts =
            Counts { windows: self.windows, points: self.points.len(), ..Counts::default() };
        for point in self.points.iter().filter(|point| point.score >= threshold) {
            match point.window {
                Some(w) => found[w] = true,
                None => counts.false_points += 1,
            }
        }
        counts.found = found.iter().filter(|hit| **hit).count();
        counts
    }

    fn normalised(&self, profile: &Profile, sum: f64) -> f64 {
        let null = -profile.missed * self.windows as f64;
        let perfect = profile.tp * self.windows as f64;
        100.0 * (sum - null) / (perfect - null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(len: usize, windows: Vec<(usize, usize)>) -> Series {
        let at = (0..len).map(|i| i as i64 * 300).collect();
        Series { name: "a/b.csv".to_owned(), at, values: vec![0.0; len], windows }
    }

    fn scored(series: &Series, alarms: &[usize]) -> Sweep {
        let mut scores = vec![0.0; series.at.len()];
        for i in alarms {
            scores[*i] = 1.0;
        }
        let mut sweep = Sweep::default();
        sweep.add(series, &scores);
        sweep
    }

    #[test]
    fn nothing_is_0_and_each_start_is_100() {
        let file = series(1_000, vec![(300, 349), (600, 649)]);
        for profile in &PROFILES {
            let perfect = scored(&file, &[300, 600]).at(profile, 0.5);
            assert!((perfect - 100.0).abs() < 1e-9, "{perfect}");
            assert!(scored(&file, &[]).at(profile, 0.5).abs() < 1e-9);
        }
    }

    #[test]
    fn an_early_alarm_is_worth_more_and_only_the_best_counts() {
        let file = series(1_000, vec![(300, 349)]);
        let early = scored(&file, &[302]).at(&PROFILES[0], 0.5);
        let late = scored(&file, &[348]).at(&PROFILES[0], 0.5);
        assert!(late < early && late > 50.0, "{late} {early}");
        let both = scored(&file, &[302, 348]).at(&PROFILES[0], 0.5);
        assert!((both - early).abs() < 1e-9);
    }

    #[test]
    fn a_false_alarm_costs_0_11_and_just_behind_a_window_next_to_nothing() {
        let file = series(1_000, vec![(300, 349)]);
        // One window: null -1, perfect 1, so 0.11 are 5.5 points.
        let far = scored(&file, &[300, 900]).at(&PROFILES[0], 0.5);
        assert!((far - 94.5).abs() < 1e-6, "{far}");
        let close = scored(&file, &[300, 350]).at(&PROFILES[0], 0.5);
        assert!((99.0..100.0).contains(&close), "{close}");
        let early = scored(&file, &[10, 300]).at(&PROFILES[0], 0.5);
        assert!((early - 100.0).abs() < 1e-9, "the probation counts for nothing: {early}");
    }

    #[test]
    fn the_best_threshold_is_found_by_trying_them_all() {
        let file = series(2_000, vec![(500, 599), (1_500, 1_599)]);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50 {
            let scores: Vec<f64> = (0..2_000).map(|_| f64::from(random.u8(0..40))).collect();
            let mut sweep = Sweep::default();
            sweep.add(&file, &scores);
            for profile in &PROFILES {
                let tried = (1..=40).map(|t| sweep.at(profile, f64::from(t)));
                let most = tried.fold(0.0, f64::max);
                let best = sweep.best(profile);
                assert!((best.score - most).abs() < 1e-9, "{} {most}", best.score);
            }
        }
    }
}
