//! `restart`: when an instance is started again, how long it waits, and when its breaker opens.

use std::time::Duration;

use ganger_core::{Backoff, CauseBackoffs, Dur};
use schemars::JsonSchema;
use toml::de::DeValue;

use super::model::{Restart as Rules, RestartOn};
use super::resolve::{in_range, not_zero};
use super::values::{Time, Times};
use super::walk::{FromNode, Key, Node, Walk, section};

/// Ten restarts in a minute open the breaker for a minute.
const RESTARTS: u32 = 10;
const RESTARTS_WITHIN: Dur = Dur(Duration::from_secs(60));
/// As many restart times as supervision remembers.
const RESTARTS_MAX: u32 = 4_096;

section! {
    /// The waits before a restart, by the cause of the failure: each first..longest, doubling with each failure in a row,
    /// drawn evenly from zero up.
    struct BackoffTable in "`restart.backoff`" {
        /// Where nothing else is said. Default: "200ms..30s".
        default: Times,
        /// After an exit code.
        exit_code: Times,
        /// After a signal, or a limit other than memory.
        signal: Times,
        /// After the end for want of memory: by its limit, or by the kernel's OOM killer.
        oom: Times,
        /// After a failed health check.
        health: Times,
        /// When it did not get ready in time.
        start_timeout: Times,
        /// When it could not be started at all.
        spawn: Times,
    }
}

/// One range for all causes, or a table by cause.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Backoffs {
    All(Times),
    Table(Box<BackoffTable>),
}

impl FromNode for Backoffs {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => {
                BackoffTable::from_node(node, walk).map(|table| Self::Table(Box::new(table)))
            }
            _ => Times::from_node(node, walk).map(Self::All),
        }
    }
}

section! {
    /// When an instance is started again, and when not any more.
    struct RestartRules in "`restart`" {
        /// After which ends. Default: "on-failure".
        on: RestartOn,
        /// The waits: first..longest, doubling, drawn evenly from zero up; or a table of them by cause ("default",
        /// "exit_code", "signal", "oom", "health", "start_timeout", "spawn"). Default: "200ms..30s".
        backoff: Backoffs,
        /// More starts than this within `within` open the breaker. Default: 10.
        max: u32,
        /// The window of `max`. Default: "60s".
        within: Time,
        /// How long the breaker stays open before its one probe start. Default: as `within`.
        breaker: Time,
        /// Up this long, an instance counts as healthy again: its failures are forgotten, and a probe closes the breaker.
        /// Default: ten times its start-up time, at least "10s".
        healthy_after: Time,
    }
}

/// A word, or a table of rules.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Restart {
    On(RestartOn),
    Rules(Box<RestartRules>),
}

impl FromNode for Restart {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => {
                RestartRules::from_node(node, walk).map(|rules| Self::Rules(Box::new(rules)))
            }
            _ => RestartOn::from_node(node, walk).map(Self::On),
        }
    }
}

/// The rules, with what is not said as by default.
pub(super) fn restart(said: Option<&Restart>, walk: &mut Walk<'_>) -> Rules {
    let rules = match said {
        None => return default(),
        Some(Restart::On(on)) => return Rules { on: *on, ..default() },
        Some(Restart::Rules(rules)) => rules,
    };
    let default = default();
    let time = |key: &Key<Time>, walk: &mut Walk<'_>| {
        let time = key.get().map(|time| time.0);
        not_zero(&key.span(), time.unwrap_or(default.within), walk);
        time
    };
    let (backoff, backoff_by) = backoffs(rules.backoff.get());
    Rules {
        on: rules.on.or(default.on),
        backoff,
        backoff_by,
        max: in_range(&rules.max, RESTARTS, 1, RESTARTS_MAX, walk),
        within: time(&rules.within, walk).unwrap_or(default.within),
        breaker: time(&rules.breaker, walk),
        healthy_after: time(&rules.healthy_after, walk),
    }
}

/// What holds where nothing is said.
fn default() -> Rules {
    Rules {
        on: RestartOn::OnFailure,
        backoff: Backoff::SERVICE,
        backoff_by: CauseBackoffs::default(),
        max: RESTARTS,
        within: RESTARTS_WITHIN,
        breaker: None,
        healthy_after: None,
    }
}

fn backoffs(said: Option<&Backoffs>) -> (Backoff, CauseBackoffs) {
    let of =
        |times: &Times| Backoff { base: times.0.from.0, max: times.0.to.0, ..Backoff::SERVICE };
    let table = match said {
        None => return (Backoff::SERVICE, CauseBackoffs::default()),
        Some(Backoffs::All(times)) => return (of(times), CauseBackoffs::default()),
        Some(Backoffs::Table(table)) => table,
    };
    let one = |key: &Key<Times>| key.get().map(of);
    let by = CauseBackoffs {
        exit_code: one(&table.exit_code),
        signal: one(&table.signal),
        oom: one(&table.oom),
        health: one(&table.health),
        start_timeout: one(&table.start_timeout),
        spawn: one(&table.spawn),
    };
    (one(&table.default).unwrap_or(Backoff::SERVICE), by)
}
