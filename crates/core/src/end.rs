//! How a child ended: an exhaustive enum, never a bare code.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::FailureCause;

/// Who sent the signal that ended a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalSource {
    /// Ganger, on purpose.
    Ganger,
    /// The kernel's out-of-memory killer.
    OomKiller,
    /// Somebody else, or the program itself.
    Unknown,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum End {
    /// It never ran: a step before or at exec failed.
    CouldNotSpawn {
        /// The step that failed: `execve`, `chdir`, `setuid`, `cgroup`, …
        step: String,
        /// The errno of that step.
        errno: i32,
    },
    /// It returned or called exit.
    Exited {
        /// 0-255.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// It left a core.
        core: bool,
        /// Who sent it.
        by: SignalSource,
    },
    /// Its time was over and ganger ended it.
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// It ran into a limit and was ended for it.
    LimitHit {
        /// `memory`, `pids`, `cpu_time`, `output`, …
        limit: String,
        /// The highest use seen, in the limit's unit.
        peak: u64,
    },
    /// The sandbox stopped it.
    SandboxViolation {
        /// What it tried.
        what: String,
    },
    /// It is gone and nobody can say how: its parent was killed and the kernel keeps no record.
    Lost,
}

impl End {
    /// True for exit code 0 only.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// Why a supervised program failed when it ended so. Exit code 0 counts too: it was to stay.
    #[must_use]
    pub fn failure_cause(&self) -> FailureCause {
        match self {
            Self::CouldNotSpawn { .. } => FailureCause::Spawn,
            Self::Exited { .. } | Self::Lost => FailureCause::ExitCode,
            Self::Signalled { by: SignalSource::OomKiller, .. } => FailureCause::Oom,
            Self::LimitHit { limit, .. } if limit == "memory" => FailureCause::Oom,
            Self::Signalled { .. }
            | Self::TimedOut { .. }
            | Self::LimitHit { .. }
            | Self::SandboxViolation { .. } => FailureCause::Signal,
        }
    }

    /// The code a shell would show: the exit code, 128 + signal, 124 for a timeout, 126/127 when it could not start,
    /// 137 for a limit, 125 where a step before the program failed or nothing is known.
    #[must_use]
    pub fn shell_code(&self) -> u8 {
        const ENOENT: i32 = 2;
        let code = match self {
            Self::CouldNotSpawn { step, .. } if step != "execve" => 125,
            Self::CouldNotSpawn { errno, .. } if *errno == ENOENT => 127,
            Self::CouldNotSpawn { .. } => 126,
            Self::Exited { code } => *code,
            Self::Signalled { signal, .. } => 128 + signal,
            Self::TimedOut { .. } => 124,
            Self::LimitHit { .. } | Self::SandboxViolation { .. } => 137,
            Self::Lost => 125,
        };
        u8::try_from(code & 0xff).unwrap_or(125)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CouldNotSpawn { step, errno } => {
                write!(f, "could not start: {step}: {}", errno_text(*errno))
            }
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::Signalled { signal, core, by } => {
                write!(f, "killed by {}", signal_name(*signal))?;
                match by {
                    SignalSource::Ganger => write!(f, " from ganger")?,
                    SignalSource::OomKiller => {
                        write!(f, " from the kernel's out-of-memory killer")?
                    }
                    SignalSource::Unknown => {}
                }
                if *core { write!(f, " (core dumped)") } else { Ok(()) }
            }
            Self::TimedOut { after } => write!(f, "timed out after {}", crate::Dur(*after)),
            Self::LimitHit { limit, peak } if limit == "memory" => {
                write!(f, "memory limit reached (peak {})", crate::Size(*peak))
            }
            Self::LimitHit { limit, peak } if limit == "cpu_time" => {
                let used = crate::Dur(Duration::from_millis(*peak));
                write!(f, "cpu_time limit reached (peak {used})")
            }
            Self::LimitHit { limit, peak } => write!(f, "{limit} limit reached (peak {peak})"),
            Self::SandboxViolation { what } => write!(f, "stopped by the sandbox: {what}"),
            Self::Lost => f.write_str("ended while its keeper was dead; its exit code is lost"),
        }
    }
}

/// Text of an errno, from the C library's table by way of std.
#[must_use]
pub fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// `SIGTERM` for 15 and so on; `signal 40` for the rest. Numbers are those of Linux on x86-64 and AArch64.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    SIGNALS
        .iter()
        .find(|(_, number)| *number == signal)
        .map_or_else(|| format!("signal {signal}"), |(name, _)| format!("SIG{name}"))
}

/// The number of `TERM`, `SIGTERM` or `15`.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS
        .iter()
        .find(|(name, _)| *name == short)
        .map(|(_, number)| *number)
        .or_else(|| short.parse().ok().filter(|n| (1..=64).contains(n)))
}

/// signal(7), x86/ARM column.
const SIGNALS: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// What a child used, from `wait4` (getrusage(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// User CPU time in microseconds.
    pub user_us: u64,
    /// System CPU time in microseconds.
    pub system_us: u64,
    /// Largest resident set in bytes.
    pub peak_rss: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
    /// Page faults that did not.
    pub minor_faults: u64,
    /// Voluntary context switches.
    pub voluntary_switches: u64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts() {
        let killed = End::Signalled { signal: 9, core: false, by: SignalSource::Ganger };
        assert_eq!(killed.shell_code(), 137);
        assert_eq!(killed.to_string(), "killed by SIGKILL from ganger");
        let missing = End::CouldNotSpawn { step: "execve".into(), errno: 2 };
        assert_eq!(missing.shell_code(), 127);
        let refused = End::CouldNotSpawn { step: "cgroup".into(), errno: 13 };
        assert_eq!(refused.shell_code(), 125);
        assert_eq!(missing.to_string(), "could not start: execve: No such file or directory");
        assert_eq!(signal_number("sigterm"), Some(15));
        assert_eq!(signal_number("KILL"), Some(9));
        assert_eq!(signal_number("0"), None);
    }
}
