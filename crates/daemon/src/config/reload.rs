//! `reload`: how the instances of a service are replaced one after the other.

use std::time::Duration;

use ganger_core::Dur;
use serde::{Deserialize, Serialize};

use super::resolve::{REPLICAS_MAX, in_range};
use super::values::Time;
use super::walk::{Key, Walk, section};

const SURGE: u32 = 1;
/// A version that dies after two seconds is a common one; five catch it and cost a reload little.
const HEALTHY_FOR: Dur = Dur(Duration::from_secs(5));
const DRAIN: Dur = Dur(Duration::from_secs(10));

section! {
    /// How the instances of a service are replaced one after the other: new ones first, old ones when those have stayed
    /// ready; if they don't, all goes back to the old version.
    struct RawReload in "`reload`" {
        /// How many instances of the new version run beside the old ones until it is over. Default: 1.
        surge: u32,
        /// How many of `replicas` may be out of service at once. Default: 0, or 1 with `surge = 0`.
        unavailable: u32,
        /// How long the first new instances must stay ready before an old one goes. Default: "5s".
        healthy_for: Time,
        /// How long an old one may take to finish its connections before it gets the stop signal, with
        /// `listen_mode = "reuseport"`. Default: "10s".
        drain: Time,
    }
}

/// `[service.NAME.reload]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Instances of the new version beside the old ones.
    pub surge: u32,
    /// How many may be out of service at once.
    pub unavailable: u32,
    /// How long the first new ones must stay ready.
    pub healthy_for: Dur,
    /// How long an old one may take to finish its connections.
    pub drain: Dur,
}

/// The rules, with what is not said as by default.
pub(super) fn reload(said: &Key<RawReload>, walk: &mut Walk<'_>) -> Option<Reload> {
    let rules = said.get()?;
    let surge = in_range(&rules.surge, SURGE, 0, REPLICAS_MAX, walk);
    // With neither, nothing could ever be replaced; 0 where there is surge.
    let least = u32::from(surge == 0);
    let time = |key: &Key<Time>, default| key.get().map_or(default, |time| time.0);
    Some(Reload {
        surge,
        unavailable: in_range(&rules.unavailable, least, least, REPLICAS_MAX, walk),
        healthy_for: time(&rules.healthy_for, HEALTHY_FOR),
        drain: time(&rules.drain, DRAIN),
    })
}
