//! How much held the runs of a profile: exposure from 0.0 (everything holds) to 10.0 (nothing does), as `systemd-analyze
//! security` has it. Measured from what the records say was enforced, not from what a profile promises.

use std::collections::BTreeMap;

use serde::Serialize;

/// A layer: its name in records, what its absence costs, what it is.
struct Weight {
    name: &'static str,
    weight: u32,
    what: &'static str,
}

/// Weights by what an attacker gains where the layer is missing. What lets code out of the run weighs most, what only bounds its use
/// of the machine least.
const WEIGHTS: [Weight; 15] = [
    Weight { name: "seccomp", weight: 18, what: "system calls of the profile only" },
    Weight { name: "mount", weight: 16, what: "only the files that are declared" },
    Weight { name: "landlock", weight: 14, what: "files, ports and signals by Landlock" },
    Weight { name: "net", weight: 12, what: "no network" },
    Weight { name: "no_new_privs", weight: 8, what: "no new privileges" },
    Weight { name: "user", weight: 6, what: "a user namespace" },
    Weight { name: "capabilities", weight: 6, what: "no capabilities" },
    Weight { name: "pid", weight: 5, what: "processes of its own only" },
    Weight { name: "tree", weight: 4, what: "a tree that can't be left" },
    Weight { name: "ipc", weight: 3, what: "IPC of its own" },
    Weight { name: "memory", weight: 3, what: "memory limit" },
    Weight { name: "pids", weight: 2, what: "limit of processes" },
    Weight { name: "rlimits", weight: 1, what: "limits of each process" },
    Weight { name: "cgroup", weight: 1, what: "no names of the machine's cgroups" },
    Weight { name: "uts", weight: 1, what: "a host name of its own" },
];

/// What an exposure is called; words and bounds are systemd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rating {
    /// 0.0
    Perfect,
    /// below 1.0
    Safe,
    /// below 5.0
    Ok,
    /// below 7.5
    Medium,
    /// below 9.0
    Exposed,
    /// below 10.0
    Unsafe,
    /// 10.0
    Dangerous,
}

impl Rating {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Perfect => "perfect",
            Self::Safe => "safe",
            Self::Ok => "ok",
            Self::Medium => "medium",
            Self::Exposed => "exposed",
            Self::Unsafe => "unsafe",
            Self::Dangerous => "dangerous",
        }
    }

    const fn of(tenths: u32) -> Self {
        match tenths {
            0 => Self::Perfect,
            1..10 => Self::Safe,
            10..50 => Self::Ok,
            50..75 => Self::Medium,
            75..90 => Self::Exposed,
            90..100 => Self::Unsafe,
            _ => Self::Dangerous,
        }
    }
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileScore {
    /// Its name.
    pub profile: String,
    /// Runs that tell what held them.
    pub runs: u64,
    /// Exposure in tenths: 0 to 100.
    pub exposure_tenths: u32,
    /// In a word.
    pub rating: Rating,
    /// Each layer.
    pub layers: Vec<LayerShare>,
    /// Layers in records that have no weight here.
    pub other: Vec<String>,
}

/// How many runs a layer held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerShare {
    /// Its name in records.
    pub layer: String,
    /// What it does.
    pub what: &'static str,
    /// Points of the exposure, of 100, where no run had it.
    pub weight: u32,
    /// Runs that had it.
    pub runs: u64,
}

/// What the runs of one profile had.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    runs: u64,
    layers: BTreeMap<String, u64>,
}

/// Layers that are told apart: names come from ganger itself, but a log may be of a newer one.
const LAYERS_MAX: usize = 64;

impl Held {
    pub(crate) fn run(&mut self, enforced: &[String]) {
        self.runs += 1;
        for layer in enforced {
            if self.layers.len() < LAYERS_MAX || self.layers.contains_key(layer) {
                *self.layers.entry(layer.clone()).or_default() += 1;
            }
        }
    }

    pub(crate) fn score(&self, profile: &str) -> ProfileScore {
        let mut layers = Vec::new();
        let mut exposure = 0.0;
        for Weight { name, weight, what } in &WEIGHTS {
            let runs = self.layers.get(*name).copied().unwrap_or(0);
            let missing = self.runs.saturating_sub(runs) as f64 / self.runs.max(1) as f64;
            exposure += f64::from(*weight) * missing;
            layers.push(LayerShare { layer: (*name).to_owned(), what, weight: *weight, runs });
        }
        // Rounded up: what is missing in one run of a thousand is not perfect.
        let exposure_tenths = exposure.ceil() as u32;
        let known = |name: &String| WEIGHTS.iter().any(|w| w.name == name);
        ProfileScore {
            profile: profile.to_owned(),
            runs: self.runs,
            exposure_tenths,
            rating: Rating::of(exposure_tenths),
            layers,
            other: self.layers.keys().filter(|name| !known(name)).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_layers_are_perfect_and_none_is_dangerous() {
        assert_eq!(WEIGHTS.iter().map(|weight| weight.weight).sum::<u32>(), 100);
        let all: Vec<String> = WEIGHTS.iter().map(|weight| weight.name.to_owned()).collect();
        let mut held = Held::default();
        (0..999).for_each(|_| held.run(&all));
        let score = held.score("strict");
        assert_eq!((score.exposure_tenths, score.rating), (0, Rating::Perfect));
        held.run(&all[1..]);
        let score = held.score("strict");
        assert_eq!((score.exposure_tenths, score.rating), (1, Rating::Safe));
        let mut held = Held::default();
        held.run(&["newer".to_owned()]);
        let score = held.score("none");
        assert_eq!((score.exposure_tenths, score.rating), (100, Rating::Dangerous));
        assert_eq!(score.other, ["newer"]);
    }
}
