//! What the kernel gives.

use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use rustix::system::uname;

use super::Check;

/// The oldest kernel ganger is made for: cgroup.kill came with it.
const FLOOR: (u32, u32) = (5, 14);
/// PIDFD_GET_INFO tells the exit code of a process that is not our child from here on (pidfd_open(2)).
const EXIT_INFO: (u32, u32) = (6, 15);
/// Below this the hard limit is soon reached: a worker costs the keeper about five descriptors.
const FEW_FILES: u64 = 4_096;

pub(super) fn checks() -> Vec<Check> {
    let release = uname().release().to_string_lossy().into_owned();
    let version = version(&release);
    vec![floor(&release, version), pidfd(), subreaper(), exit_info(version), files(), migrate()]
}

fn version(release: &str) -> (u32, u32) {
    let mut parts =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn floor(release: &str, version: (u32, u32)) -> Check {
    if version >= FLOOR {
        return Check::ok("kernel", format!("Linux {release}"));
    }
    Check::fail(
        "kernel",
        format!("Linux {release} is older than {}.{}", FLOOR.0, FLOOR.1),
        "boot a newer kernel",
    )
}

fn pidfd() -> Check {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Check::ok("pidfd", "processes are held and signalled by descriptor"),
        Err(error) => Check::fail(
            "pidfd",
            format!("pidfd_open: {error}"),
            "allow the system calls pidfd_open, pidfd_send_signal and clone3 (a container's seccomp profile?)",
        ),
    }
}

fn subreaper() -> Check {
    match rustix::process::child_subreaper() {
        Ok(_) => Check::ok("subreaper", "orphans of children come back to the keeper"),
        Err(error) => Check::fail(
            "subreaper",
            format!("PR_GET_CHILD_SUBREAPER: {error}"),
            "allow the system call prctl",
        ),
    }
}

fn exit_info(version: (u32, u32)) -> Check {
    if version >= EXIT_INFO {
        return Check::ok("exit codes after a killed keeper", "PIDFD_GET_INFO tells them");
    }
    Check::warn(
        "exit codes after a killed keeper",
        format!("lost: PIDFD_GET_INFO tells them from Linux {}.{} on", EXIT_INFO.0, EXIT_INFO.1),
        "boot a newer kernel; only exits of children whose keeper was killed are concerned",
    )
}

/// What happens to connections in the queue of a reuseport socket that is closed (ip-sysctl, tcp_migrate_req, Linux 5.14).
fn migrate() -> Check {
    const NAME: &str = "queues of closed reuseport sockets";
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
    match told.as_deref().map(str::trim) {
        Ok("0") => Check::info(
            NAME,
            "reset: only when a slot goes for good (`scale`, `listen_mode`), never by a restart; net.ipv4.tcp_migrate_req = 1 moves them to the other slots",
        ),
        Ok(_) => Check::ok(NAME, "move to the other slots (net.ipv4.tcp_migrate_req)"),
        Err(_) => Check::info(NAME, "reset: this kernel has no net.ipv4.tcp_migrate_req"),
    }
}

fn files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let text = |n: u64| if n == u64::MAX { "unlimited".to_owned() } else { n.to_string() };
    let finding = format!("{} soft, {} hard", text(limit.current.unwrap_or(u64::MAX)), text(hard));
    if hard >= FEW_FILES {
        return Check::ok("open files", finding);
    }
    Check::warn("open files", finding, "raise it: `ulimit -Hn 65536`, or LimitNOFILE= of the unit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::Verdict;

    #[test]
    fn versions() {
        assert_eq!(version("6.18.44-fc-v669"), (6, 18));
        assert_eq!(version("5.14.0-rc1"), (5, 14));
        assert_eq!(floor("5.10.0", (5, 10)).verdict, Verdict::Fail);
        assert_eq!(exit_info((6, 1)).verdict, Verdict::Warn);
    }
}
