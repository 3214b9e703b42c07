//! Who has an address that could not be had: `/proc/net` names the socket, a look through descriptors its process.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ganger_sys::proc;

use super::address::{Address, Host, Place};
use super::net::{self, LISTENS, Line};

/// Descriptors looked at before the search is given up: some tens of milliseconds, once per failed start.
const LOOKED_AT_MAX: usize = 100_000;

/// Who has it, as a person would say it; `None` when it can't be seen. Reads /proc: call it where blocking is fine.
pub(super) fn has(address: &Address) -> Option<String> {
    let (inode, user) = match address {
        Address::Tcp(place) => inet(place, ["tcp", "tcp6"], Some(LISTENS))?,
        Address::Udp(place) => inet(place, ["udp", "udp6"], None)?,
        Address::Unix(path) => (unix(path)?, None),
    };
    match (process(&inode), user) {
        (Some((pid, _)), _) if pid == std::process::id() => {
            Some("ganger itself: another of its addresses covers this one".to_owned())
        }
        (Some((pid, name)), _) => Some(format!("pid {pid} ({name})")),
        (None, Some(user)) => Some(format!("a process of uid {user}")),
        (None, None) => None,
    }
}

/// Inode and user of a socket that covers a place.
fn inet(place: &Place, tables: [&str; 2], state: Option<&str>) -> Option<(String, Option<String>)> {
    let fits = |line: &Line<'_>| {
        line.port == place.port
            && state.is_none_or(|state| line.state == state)
            && covers(line.host, &place.host)
    };
    let those = net::sockets(tables, None, |line| {
        fits(line).then(|| (line.inode.to_owned(), Some(line.user.to_owned())))
    });
    those.into_iter().next()
}

/// A local address as the kernel writes it (words of 32 bits in the machine's order) stands in the way of `host`.
fn covers(written: &str, host: &Host) -> bool {
    let unspecified = written.bytes().all(|digit| digit == b'0');
    let wanted = match host {
        Host::Any => return true,
        Host::Ip(ip) if ip.is_unspecified() => return true,
        Host::Ip(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Host::Ip(IpAddr::V6(ip)) => ip.octets().to_vec(),
    };
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap_or_default();
        format!("{:08X}", u32::from_ne_bytes(bytes))
    };
    unspecified || wanted.chunks(4).map(word).collect::<String>() == written
}

fn unix(path: &Path) -> Option<String> {
    let text = fs::read_to_string("/proc/net/unix").ok()?;
    let path = path.to_str()?;
    // proc(5): Num RefCount Protocol Flags Type St Inode Path
    text.lines().skip(1).find_map(|line| {
        let (head, its_path) = line.split_once(" /")?;
        (its_path == path.strip_prefix('/')?)
            .then(|| head.split_ascii_whitespace().nth(6).map(str::to_owned))?
    })
}

/// The process with the lowest number that has the socket open: the one that made it, where its children have it as well.
fn process(inode: &str) -> Option<(u32, String)> {
    let wanted = net::link(inode);
    let mut pids: Vec<u32> = proc::pids().collect();
    pids.sort_unstable();
    let mut looked_at = 0;
    for pid in pids {
        for to in net::descriptors(pid) {
            looked_at += 1;
            if looked_at > LOOKED_AT_MAX {
                return None;
            }
            if to == wanted {
                return Some((pid, proc::name(pid).unwrap_or_default()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener, UdpSocket};

    fn of(text: &str) -> Option<String> {
        has(&text.parse().unwrap())
    }

    #[test]
    fn who_has_a_port_or_a_path_is_found() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let ours = Some("ganger itself: another of its addresses covers this one".to_owned());
        assert_eq!(of(&format!("tcp://127.0.0.1:{port}")), ours);
        assert_eq!(of(&format!("tcp://:{port}")), ours);
        assert_eq!(of(&format!("tcp://127.0.0.2:{port}")), None);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(of(&format!("udp://127.0.0.1:{}", udp.local_addr().unwrap().port())), ours);
        if let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            assert_eq!(of(&format!("tcp://[::1]:{}", six.local_addr().unwrap().port())), ours);
        }
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("s");
        let _unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(of(&format!("unix://{}", path.display())), ours);
    }
}
