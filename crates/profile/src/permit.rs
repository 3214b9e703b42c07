//! Why the kernel would not let us sample, and what to do about it.

use std::fs;
use std::io;

use rustix::io::Errno;

/// CAP_PERFMON and CAP_SYS_ADMIN, by number: either lets a process sample whatever it likes.
const PERFMON: u64 = 1 << 38;
const ADMIN: u64 = 1 << 21;

/// What decides about permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `kernel.perf_event_paranoid`
    pub(crate) paranoid: Option<i32>,
    /// CAP_PERFMON or CAP_SYS_ADMIN is in effect.
    pub(crate) capable: bool,
    /// A seccomp filter is on us, as in most containers.
    pub(crate) filtered: bool,
}

impl Facts {
    pub(crate) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let held = field("CapEff:").and_then(|word| u64::from_str_radix(word, 16).ok());
        let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok();
        Self {
            paranoid: paranoid.and_then(|text| text.trim().parse().ok()),
            capable: held.unwrap_or(0) & (PERFMON | ADMIN) != 0,
            filtered: field("Seccomp:") == Some("2"),
        }
    }
}

/// `error` is about permission, or about a kernel that has no perf at all: states can be looked at instead.
pub(crate) fn refused(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::ACCESS | Errno::PERM | Errno::NOSYS))
}

/// What is missing and how to get it, for an error of which [`refused`] is true.
pub(crate) fn why(error: &io::Error, facts: Facts) -> String {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    if code == Some(Errno::NOSYS) || facts.paranoid.is_none() {
        return "this kernel has no perf_event_open (CONFIG_PERF_EVENTS), or the container hides it".into();
    }
    let level = facts.paranoid.unwrap_or_default();
    if facts.capable || facts.filtered {
        return "perf_event_open is refused by a seccomp filter or a security module, as containers have them: allow the call in the \
                container's seccomp profile and give it CAP_PERFMON (docker: --cap-add PERFMON --security-opt seccomp=…), or \
                profile from outside the container"
            .into();
    }
    if level >= 3 {
        return format!(
            "kernel.perf_event_paranoid is {level}, so only CAP_PERFMON may sample: `sudo sysctl kernel.perf_event_paranoid=2` \
             allows own processes, `sudo setcap cap_perfmon+ep $(command -v ganger)` allows all"
        );
    }
    "the processes are another user's, or have changed their user: run as that user or as root, or \
     `sudo setcap cap_perfmon,cap_sys_ptrace+ep $(command -v ganger)`"
        .into()
}

/// Why the kernel's functions are not in the profile.
pub(crate) fn no_kernel(facts: Facts) -> String {
    let level = facts.paranoid.map_or_else(|| "unknown".to_owned(), |level| level.to_string());
    format!(
        "without the kernel's own functions: kernel.perf_event_paranoid is {level}; `sudo sysctl kernel.perf_event_paranoid=1` or CAP_PERFMON \
         adds them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_way_out() {
        let denied = io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error());
        let facts = Facts { paranoid: Some(3), capable: false, filtered: false };
        assert!(refused(&denied));
        assert!(why(&denied, facts).contains("kernel.perf_event_paranoid=2"));
        assert!(why(&denied, Facts { paranoid: Some(2), ..facts }).contains("another user's"));
        assert!(why(&denied, Facts { filtered: true, ..facts }).contains("seccomp"));
        assert!(why(&denied, Facts { capable: true, ..facts }).contains("seccomp"));
        assert!(why(&denied, Facts { paranoid: None, ..facts }).contains("CONFIG_PERF_EVENTS"));
        assert!(no_kernel(facts).contains("paranoid is 3"));
        assert!(!refused(&io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
    }

    #[test]
    fn root_is_capable_and_the_level_is_read() {
        let facts = Facts::look();
        let there = fs::exists("/proc/sys/kernel/perf_event_paranoid").unwrap();
        assert_eq!(facts.paranoid.is_some(), there);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        if status.contains("CapEff:\t0000000000000000") {
            assert!(!facts.capable);
        }
    }
}
