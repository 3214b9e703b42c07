//! Draining: when an instance that gets no new connections has finished those it has.
//!
//! Its own socket of a `reuseport` group is asked for its queue, and `/proc` for connections on that port that the
//! instance's processes have open. That is looked at again and again, but only during a drain: nothing tells it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::listeners::{Address, Listeners};

/// Between two looks: a drain takes about two of them where nothing is left to do.
const LOOK: Duration = Duration::from_millis(100);
/// Looks in a row without a connection; a handshake begun before the last new steering may end after the first.
const QUIET: u32 = 2;
/// Processes of one instance that are looked at; what has more is drained by time alone.
const PROCESSES_MAX: usize = 1_024;
/// TCP_ESTABLISHED in the column `st` of /proc/net/tcp (linux/net/tcp_states.h).
const ESTABLISHED: &str = "01";

/// Waits until a slot has no connections left, at most for `limit`.
pub(super) async fn drained(
    listeners: Listeners,
    service: String,
    slot: u32,
    pid: Option<u32>,
    limit: Duration,
) {
    let until = Instant::now() + limit;
    let mut quiet = 0;
    while quiet < QUIET && Instant::now() < until {
        sleep(LOOK).await;
        let own = listeners.look(&service).await.into_iter().filter(|one| one.slot == Some(slot));
        let (mut waits, mut ports) = (false, BTreeSet::new());
        for one in own {
            waits |= one.queue.is_some_and(|(length, _)| length > 0);
            if let Address::Tcp(place) = &one.address {
                ports.insert(place.port);
            }
        }
        let busy = match pid {
            Some(pid) if !waits && !ports.is_empty() => {
                tokio::task::spawn_blocking(move || is_busy(pid, &ports)).await.unwrap_or(false)
            }
            _ => waits,
        };
        quiet = if busy { 0 } else { quiet + 1 };
    }
}

/// A process or one of its descendants has a connection on one of the ports.
fn is_busy(pid: u32, ports: &BTreeSet<u16>) -> bool {
    let mut inodes: BTreeSet<String> = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(|line| {
            // proc(5): sl local_address rem_address st queues timers retrnsmt uid timeout inode …
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
            let fits = ports.contains(&port) && *fields.get(3)? == ESTABLISHED;
            fits.then(|| Some(format!("socket:[{}]", fields.get(9)?)))?
        }));
    }
    !inodes.is_empty() && tree(pid).into_iter().any(|pid| has_one(pid, &inodes))
}

fn has_one(pid: u32, inodes: &BTreeSet<String>) -> bool {
    // Those that have ended meanwhile have none.
    let Ok(links) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    links
        .filter_map(Result::ok)
        .filter_map(|link| fs::read_link(link.path()).ok())
        .any(|to| to.to_str().is_some_and(|to| inodes.contains(to)))
}

fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(pid) = pids.get(at).copied().filter(|_| pids.len() < PROCESSES_MAX) {
        at += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten() {
            let Ok(task) = task else { continue };
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(
                children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_keeps_its_process_busy_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let busy = || is_busy(std::process::id(), &[port].into());
        assert!(!busy());
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(busy());
        assert!(!is_busy(std::process::id(), &[port.wrapping_add(1)].into()));
        drop((client, server));
        assert!(!busy());
    }
}
