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

/// What `pick` makes of the sockets of tables (`tcp`, `tcp6`, `udp`, `udp6`), in their order; of those in one state, if one is given.
///
/// A busy machine has tens of thousands of connections that are over (TIME_WAIT): of them nothing but the state is looked at.
pub(super) fn sockets<T>(
    tables: [&str; 2],
    state: Option<&str>,
    pick: impl Fn(&Line<'_>) -> Option<T>,
) -> Vec<T> {
    let read = |table| fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let texts = tables.map(read);
    let fits = |line: &&str| state.is_none() || state == state_of(line);
    let lines = texts.iter().flat_map(|text| text.lines().skip(1));
    let lines = lines.filter(fits).filter_map(Line::parse);
    lines.filter_map(|line| pick(&line)).collect()
}

/// The column `st`, found without a look at every word: two addresses of the same width stand before it.
fn state_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(": ")?;
    let at = (rest.find(' ')? + 1) * 2;
    rest.get(at..at + 2)
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
    let fits = |line: &Line<'_>| ports.contains(&line.port);
    let those =
        sockets(["tcp", "tcp6"], Some(ESTABLISHED), |line| fits(line).then(|| link(line.inode)));
    let open: BTreeSet<String> = those.into_iter().collect();
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
    fn states_are_found_in_lines_of_both_families() {
        let short = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1";
        let long = "  12: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 78 1";
        for (line, state, inode) in [(short, LISTENS, "77"), (long, ESTABLISHED, "78")] {
            assert_eq!(state_of(line), Some(state));
            let line = Line::parse(line).unwrap();
            assert_eq!((line.state, line.port, line.inode), (state, 8080, inode));
        }
        assert_eq!(state_of("sl local_address"), None);
    }

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
