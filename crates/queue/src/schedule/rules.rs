//! What a schedule is told: when, what, and what happens when things get in each other's way.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::config::NewTask;

/// Fires that a policy of `all` makes up for when nothing else is said.
pub const MISSED_DEFAULT: u32 = 100;
/// The most it may: each is a task.
pub const MISSED_MAX: u32 = 10_000;
/// Fires that may wait for the one before: beyond, the schedule is faster than its work for long, and more would only grow.
pub const LINE_MAX: usize = 100;
/// A fire this late is still on time: a daemon that was killed is back within seconds, and nothing is missed then.
pub const ON_TIME: Duration = Duration::from_secs(30);

/// What a fire does while the task of the one before is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Its task is pushed all the same.
    #[default]
    Allow,
    /// It is left out.
    Skip,
    /// Its task is pushed when the one before has ended.
    Queue,
    /// The one before is cancelled; its task is pushed when that has ended.
    Replace,
}

impl Overlap {
    /// The word users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Replace => "replace",
        }
    }
}

/// What becomes of fires whose time passed while nobody could make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are left out.
    Skip,
    /// The last of them is made up for.
    #[default]
    Latest,
    /// All are, up to a bound; the newest ones then.
    All,
}

impl Missed {
    /// The word users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Latest => "latest",
            Self::All => "all",
        }
    }
}

/// One schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleConfig {
    /// When it fires.
    pub plan: Plan,
    /// Each fire is late by up to this, evenly drawn, always the same for the same fire.
    pub jitter: Duration,
    /// Where its tasks go.
    pub queue: Arc<str>,
    /// Its tasks.
    pub task: NewTask,
    /// What a fire does while the task of the one before is unfinished.
    pub overlap: Overlap,
    /// What becomes of missed fires.
    pub missed: Missed,
    /// How many of them `all` makes up for.
    pub missed_max: u32,
    /// Fires nothing.
    pub paused: bool,
}

impl ScheduleConfig {
    /// When a fire is made: its moment and its share of the jitter, but never as late as the fire after it.
    pub(super) fn due(&self, name: &str, fire_ms: u64) -> u64 {
        let jitter = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return fire_ms;
        }
        let room = self.plan.after(fire_ms).map_or(u64::MAX, |next| next - fire_ms);
        fire_ms + draw(name, fire_ms) % jitter.min(room).max(1)
    }
}

/// The same number for the same fire, also in the next version: FNV-1a over name and moment, then the finish of splitmix64,
/// because the low bits of FNV alone follow the last bytes.
fn draw(name: &str, fire_ms: u64) -> u64 {
    let bytes = name.bytes().chain(fire_ms.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
