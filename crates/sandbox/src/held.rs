//! Limits of a tree where no controller holds them: by whom else.
//!
//! ```text
//! memory    controller ─ else watchdog
//! pids      controller ─ else RLIMIT_NPROC of its own user namespace ─ else watchdog
//! CPU time  counted by a cgroup, looked at in time ─ else watchdog
//! CPU share controller ─ else nobody
//! ```
//!
//! RLIMIT_AS and RLIMIT_DATA hold nothing here: they count what a process has mapped, not what it uses. Runtimes that map gigabytes at
//! their start (Go, Java, V8) or 8 MiB a thread would not start under limits that they keep, and a tree of processes has the limit
//! once for each.

use crate::{Bound, Degraded, Held, Holder, Layer, Limits, Report, Wall};

/// What the watchdog can promise, for whoever reads a result.
const WATCHDOG: &str = "a watchdog looks at its processes instead, every 5 to 100 ms (less often where it has many to watch), and ends the tree";

/// What RLIMIT_NPROC is to be in the child's user namespace so that the limit of processes holds, if that is how it is held. `counted` is
/// the limit with ganger's own process in it, `outside` the child's user on the machine, `release` the kernel's.
///
/// From Linux 5.14 on the kernel counts the processes of a user in each user namespace apart (`ucounts`) and compares with the limit of
/// whoever forks; before, it counts all of them on the machine. Nobody who is root outside is held by it.
#[must_use]
pub fn rlimit_pids(counted: &Limits, report: &Report, outside: u32, release: &str) -> Option<u64> {
    let most = counted.pids.filter(|_| !report.enforced.contains(&Layer::Pids))?;
    (outside != 0 && at_least(release, (5, 14))).then_some(most)
}

/// Says in the report by whom each limit of the tree is held. `cpu`: a cgroup counts its CPU time; `rlimit`: RLIMIT_NPROC was asked for.
pub fn hold(report: &mut Report, limits: &Limits, cpu: bool, rlimit: bool) {
    let mut held = Vec::new();
    if let Some(most) = limits.memory.filter(|_| !report.enforced.contains(&Layer::Memory)) {
        held.push(Held { limit: Bound::Memory, by: Holder::Watchdog, most });
    }
    if let Some(most) = limits.pids.filter(|_| !report.enforced.contains(&Layer::Pids)) {
        let by_rlimit = rlimit && report.walls.contains(&Wall::User);
        let by = if by_rlimit { Holder::Rlimit } else { Holder::Watchdog };
        held.push(Held { limit: Bound::Pids, by, most });
    }
    if let Some(most) = limits.tree_cpu_ms {
        let by = if cpu { Holder::Cgroup } else { Holder::Watchdog };
        held.push(Held { limit: Bound::CpuTime, by, most });
    }
    for one in &held {
        let what = format!("{} limit", one.limit.as_str());
        let known = report.degraded.iter().position(|known| known.what == what);
        match (one.by, known) {
            (Holder::Watchdog, Some(at)) => {
                let known = &mut report.degraded[at];
                known.what.push_str(" by cgroup");
                known.why = format!("{}; {WATCHDOG}", known.why);
            }
            (Holder::Watchdog, None) => report.degraded.push(Degraded {
                what: format!("{what} by cgroup"),
                why: format!("no cgroup counts it here; {WATCHDOG}"),
                fix: "run ganger as root or in a delegated cgroup (Delegate=yes)".into(),
            }),
            (Holder::Rlimit, Some(at)) => drop(report.degraded.remove(at)),
            (Holder::Rlimit | Holder::Cgroup, _) => {}
        }
    }
    report.held = held;
}

/// Whether a kernel's release (`6.1.0-42-amd64`) is of this version or a later one.
fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let (memory, pids, tree_cpu_ms) = (Some(64 << 20), Some(8), Some(1_500));
        Limits { memory, pids, tree_cpu_ms, ..Limits::default() }
    }

    fn missing(what: &str) -> Degraded {
        Degraded { what: what.into(), why: "no cgroup".into(), fix: "be root".into() }
    }

    #[test]
    fn controllers_are_told_as_they_were() {
        let enforced = vec![Layer::Tree, Layer::Memory, Layer::Pids];
        let mut report = Report { enforced, ..Report::default() };
        hold(&mut report, &limits(), true, false);
        let held = Held { limit: Bound::CpuTime, by: Holder::Cgroup, most: 1_500 };
        assert_eq!((report.held, report.degraded), (vec![held], Vec::new()));
    }

    #[test]
    fn without_controllers_the_result_says_who_holds_it() {
        let degraded = vec![missing("memory limit"), missing("cpu limit"), missing("pids limit")];
        let walls = vec![Wall::User];
        let mut report = Report { degraded, walls, ..Report::default() };
        hold(&mut report, &limits(), false, true);
        let by: Vec<_> = report.held.iter().map(|one| (one.limit, one.by)).collect();
        assert_eq!(
            by,
            [
                (Bound::Memory, Holder::Watchdog),
                (Bound::Pids, Holder::Rlimit),
                (Bound::CpuTime, Holder::Watchdog)
            ]
        );
        let what: Vec<_> = report.degraded.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(what, ["memory limit by cgroup", "cpu limit", "cpu_time limit by cgroup"]);
        assert!(report.degraded[0].why.starts_with("no cgroup; a watchdog"));
        assert_eq!(report.degraded[1], missing("cpu limit"), "a share can't be watched");
    }

    #[test]
    fn without_its_namespace_a_limit_of_processes_is_watched() {
        let degraded = vec![missing("pids limit")];
        let mut report = Report { degraded, ..Report::default() };
        let limits = Limits { pids: Some(8), ..Limits::default() };
        hold(&mut report, &limits, false, true);
        assert_eq!(report.held, [Held { limit: Bound::Pids, by: Holder::Watchdog, most: 8 }]);
        assert_eq!(report.degraded.len(), 1);
    }

    #[test]
    fn the_kernel_counts_in_namespaces_from_5_14_on_and_never_root() {
        let bare = Report::default();
        let pids = |uid, release| rlimit_pids(&limits(), &bare, uid, release);
        assert_eq!(pids(1000, "6.1.0-42-amd64"), Some(8));
        assert_eq!(pids(1000, "5.14.0"), Some(8));
        assert_eq!((pids(1000, "5.13.19"), pids(1000, "4.19"), pids(1000, "")), (None, None, None));
        assert_eq!(pids(0, "6.1.0"), None);
        let controlled = Report { enforced: vec![Layer::Pids], ..Report::default() };
        assert_eq!(rlimit_pids(&limits(), &controlled, 1000, "6.1.0"), None);
    }
}
