//! What `/proc/net` tells of sockets, and whose descriptors they are.

use std::collections::BTreeSet;
use std::fs;

use ganger_sys::proc;

/// TCP_LISTEN in the column `st` (linux/net/tcp_states.h).
pub(super) const LISTENS: &str = "0A";
/// TCP_ESTABLISHED.
const ESTABLISHED: &str = "01";

/// Processes of one instance that are looked at; what has more is drained by time alone.
const PROCESSES_MAX: usize = 1_024;

/// One line of `/proc/net/tcp` and its kind.
pub(super) struct Line<'a> {
    /// The local address as the kernel writes it: words of 32 bits in the machine's order.
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) state: &'a str,
    pub(super) user: &'a str,
    pub(super) inode: &'a str,
}

impl<'a> Line<'a> {
    /// proc(5): sl local_address rem_address st queues timers retrnsmt uid timeout inode …
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (host, port) = fields.next()?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let state = fields.nth(1)?;
        let user = fields.nth(3)?;
        let inode = fields.nth(1)?;
        Some(Self { host, port, state, user, inode })
    }
}

/// What `pick` makes of the sockets of tables (`tcp`, `tcp6`, `udp`, `udp6`), in their order.
pub(super) fn sockets<T>(tables: [&str; 2], pick: impl Fn(&Line<'_>) -> Option<T>) -> Vec<T> {
    let read = |table| fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let texts = tables.map(read);
    let lines = texts.iter().flat_map(|text| text.lines().skip(1)).filter_map(Line::parse);
    lines.filter_map(|line| pick(&line)).collect()
}

/// Where the descriptors of a process lead; none where they can't be seen: another user's, or gone.
pub(super) fn descriptors(pid: u32) -> impl Iterator<Item = String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok().into_iter().flatten().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets.filter_map(|target| target.into_os_string().into_string().ok())
}

/// Where a descriptor of the socket leads.
pub(super) fn link(inode: &str) -> String {
    format!("socket:[{inode}]")
}

/// A process or one of its descendants has a connection on one of the ports. Reads /proc: call it where blocking is fine.
pub(crate) fn has_connections(pid: u32, ports: &BTreeSet<u16>) -> bool {
    let fits = |line: &Line<'_>| ports.contains(&line.port) && line.state == ESTABLISHED;
    let open: BTreeSet<String> =
        sockets(["tcp", "tcp6"], |line| fits(line).then(|| link(line.inode))).into_iter().collect();
    !open.is_empty()
        && tree(pid).into_iter().any(|pid| descriptors(pid).any(|to| open.contains(&to)))
}

fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(pid) = pids.get(at).copied().filter(|_| pids.len() < PROCESSES_MAX) {
        at += 1;
        pids.extend(proc::children(pid));
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
        let busy = || has_connections(std::process::id(), &[port].into());
        assert!(!busy());
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(busy());
        assert!(!has_connections(std::process::id(), &[port.wrapping_add(1)].into()));
        drop((client, server));
        assert!(!busy());
    }
}
