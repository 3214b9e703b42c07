//! Where a program of a Node cluster wants to listen, in our words.

use std::net::{IpAddr, Ipv6Addr};

use ganger_ipc::node::cluster::{Family, Wish};
use rustix::io::Errno;

use crate::listeners::{Address, Host, Place};

/// What Node makes of a Unix socket's file with the umask that children have (022).
const FILE_MODE: u32 = 0o755;

/// The address and the permissions of a Unix socket's file; else the errno that the program sees.
pub(super) fn address(wish: &Wish) -> Result<(Address, u32), i32> {
    let place = || host(wish).map(|host| Place { host, port: wish.port });
    let all = |yes: bool, bits: u32| if yes { bits } else { 0 };
    match wish.family {
        Family::Tcp4 | Family::Tcp6 => Ok((Address::Tcp(place()?), 0)),
        Family::Udp4 | Family::Udp6 => Ok((Address::Udp(place()?), 0)),
        Family::Unix => {
            let path = wish.address.clone().unwrap_or_default();
            let mode = FILE_MODE | all(wish.readable_all, 0o444) | all(wish.writable_all, 0o222);
            Ok((Address::Unix(path.into()), mode))
        }
        // A number of a descriptor means nothing here: the primary has other ones.
        Family::Fd => Err(Errno::BADF.raw_os_error()),
    }
}

fn host(wish: &Wish) -> Result<Host, i32> {
    let v4 = matches!(wish.family, Family::Udp4);
    let Some(text) = &wish.address else {
        return Ok(match (v4, wish.ipv6_only) {
            (true, _) => Host::Ip(IpAddr::from([0, 0, 0, 0])),
            (false, true) => Host::Ip(Ipv6Addr::UNSPECIFIED.into()),
            // As Node: all of IPv6 and IPv4, or of IPv4 where that is all there is.
            (false, false) => Host::Any,
        });
    };
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() && !wish.ipv6_only => Ok(Host::Any),
        Ok(ip) => Ok(Host::Ip(ip)),
        Err(_) => Err(Errno::INVAL.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(family: Family, address: Option<&str>) -> Wish {
        Wish {
            family,
            address: address.map(str::to_owned),
            port: 80,
            fd: None,
            ipv6_only: false,
            backlog: None,
            readable_all: false,
            writable_all: true,
            index: 0,
        }
    }

    #[test]
    fn as_node_does() {
        for (family, address, is) in [
            (Family::Tcp4, None, "tcp://:80"),
            (Family::Tcp4, Some("127.0.0.1"), "tcp://127.0.0.1:80"),
            (Family::Tcp4, Some("0.0.0.0"), "tcp://0.0.0.0:80"),
            (Family::Tcp6, Some("::"), "tcp://:80"),
            (Family::Tcp6, Some("::1"), "tcp://[::1]:80"),
            (Family::Udp4, None, "udp://0.0.0.0:80"),
            (Family::Unix, Some("/run/s"), "unix:///run/s"),
        ] {
            let (told, mode) = super::address(&wish(family, address)).unwrap();
            assert_eq!(told.to_string(), is);
            assert_eq!(mode, if family == Family::Unix { 0o777 } else { 0 });
        }
        let only = Wish { ipv6_only: true, ..wish(Family::Tcp6, Some("::")) };
        assert_eq!(super::address(&only).unwrap().0.to_string(), "tcp://[::]:80");
        assert_eq!(super::address(&wish(Family::Fd, None)), Err(9));
        assert_eq!(super::address(&wish(Family::Tcp4, Some("example.org"))), Err(22));
    }
}
