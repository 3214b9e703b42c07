//! One datagram of sd_notify(3), read: lines of `KEY=value`. Keys that mean nothing here are ignored, as systemd does.

use std::time::Duration;

/// Shown of a `STATUS=`: characters.
const STATUS_MAX: usize = 200;
/// Longest interval a process may set its watchdog to; beyond a day nobody would wait for it.
const WATCHDOG_MAX: Duration = Duration::from_secs(86_400);
/// Shortest: a process that asks for less would be ended by a busy machine.
const WATCHDOG_MIN: Duration = Duration::from_millis(10);

/// `WATCHDOG=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watchdog {
    /// `1`: it works.
    Alive,
    /// `trigger`: it says itself that it doesn't.
    Trigger,
}

/// What one datagram says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    pub(crate) ready: bool,
    pub(crate) reloading: bool,
    pub(crate) stopping: bool,
    /// Printable characters only, at most [`STATUS_MAX`].
    pub(crate) status: Option<String>,
    pub(crate) watchdog: Option<Watchdog>,
    /// A new interval of the watchdog.
    pub(crate) watchdog_every: Option<Duration>,
    pub(crate) extend: Option<Duration>,
    pub(crate) main_pid: Option<u32>,
}

impl Message {
    pub(crate) fn parse(text: &str) -> Self {
        let mut message = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            match (key, value) {
                ("READY", "1") => message.ready = true,
                ("RELOADING", "1") => message.reloading = true,
                ("STOPPING", "1") => message.stopping = true,
                ("STATUS", text) => {
                    let shown = text.chars().filter(|c| !c.is_control()).take(STATUS_MAX);
                    message.status = Some(shown.collect());
                }
                ("WATCHDOG", "1") => message.watchdog = Some(Watchdog::Alive),
                ("WATCHDOG", "trigger") => message.watchdog = Some(Watchdog::Trigger),
                ("WATCHDOG_USEC", time) => {
                    message.watchdog_every =
                        micros(time).map(|time| time.clamp(WATCHDOG_MIN, WATCHDOG_MAX));
                }
                ("EXTEND_TIMEOUT_USEC", time) => message.extend = micros(time),
                ("MAINPID", pid) => message.main_pid = pid.parse().ok(),
                _ => {}
            }
        }
        message
    }
}

fn micros(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|time| *time > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_key_is_read_and_others_are_ignored() {
        let text = "READY=1\nSTATUS=warm\x1b[31m up\nWATCHDOG=1\nWATCHDOG_USEC=5000000\nMAINPID=12\n\
                    EXTEND_TIMEOUT_USEC=250000\nRELOADING=1\nSTOPPING=1\nFDSTORE=1\nX\nERRNO=2";
        let wanted = Message {
            ready: true,
            reloading: true,
            stopping: true,
            status: Some("warm[31m up".into()),
            watchdog: Some(Watchdog::Alive),
            watchdog_every: Some(Duration::from_secs(5)),
            extend: Some(Duration::from_millis(250)),
            main_pid: Some(12),
        };
        assert_eq!(Message::parse(text), wanted);
        assert_eq!(Message::parse("WATCHDOG=trigger").watchdog, Some(Watchdog::Trigger));
        let nothing = "READY=0\nMAINPID=-1\nWATCHDOG=yes\nWATCHDOG_USEC=0\nEXTEND_TIMEOUT_USEC=x";
        assert_eq!(Message::parse(nothing), Message::default());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded(text in "([A-Z_]{0,12}=?.{0,300}\n?){0,20}", n in any::<u64>()) {
            let message = Message::parse(&format!("{text}\nWATCHDOG_USEC={n}"));
            prop_assert!(message.status.is_none_or(|s| s.chars().count() <= STATUS_MAX));
            prop_assert!(message.watchdog_every.is_none_or(|t| t <= WATCHDOG_MAX && t >= WATCHDOG_MIN));
        }
    }
}
