//! What sockets can be asked and told beyond rustix: who of a reuseport group gets the next connection, and how long a
//! listener's queue is.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Most sockets that [`steer`] can choose from: BPF_MAXINSNS (linux/bpf_common.h) holds two instructions for each.
pub const STEERED_MAX: usize = 2_000;

// linux/filter.h: offsets of what a classic filter may ask the kernel.
const SKF_AD_RANDOM: u32 = (-0x1000_i32 + 56).cast_unsigned();

const fn op(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    // BPF codes are below 256.
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Has new connections of a reuseport group go to these of its sockets only, evenly by chance. Places count from 0 in the
/// order in which the sockets began to listen; `socket` is any of the group. What waits in a queue stays where it is.
///
/// # Errors
/// No place, too many, or the kernel refuses (`socket` has no SO_REUSEPORT).
pub fn steer(socket: impl AsFd, places: &[u32]) -> io::Result<()> {
    if places.is_empty() || places.len() > STEERED_MAX {
        let why = format!("{} sockets to choose from; 1 to {STEERED_MAX} can be", places.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut program = vec![
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, SKF_AD_RANDOM),
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, u32::try_from(places.len()).unwrap_or(1)),
    ];
    for (choice, place) in (0_u32..).zip(places) {
        program.push(jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, choice, 0, 1));
        program.push(op(libc::BPF_RET | libc::BPF_K, *place));
    }
    // A place that does not exist: the kernel chooses by hash. Never reached, but a filter must end.
    program.push(op(libc::BPF_RET | libc::BPF_K, u32::MAX));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        filter: program.as_mut_ptr(),
    };
    let size = u32::try_from(size_of_val(&filter)).unwrap_or(0);
    // SAFETY: the kernel copies `len` instructions from `program`, which lives past the call; `size` is that of the struct.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Connections that wait to be accepted at a TCP listener, and how many may (tcp(7), TCP_INFO of a listening socket).
///
/// # Errors
/// It is no TCP socket.
pub fn queue(listener: impl AsFd) -> io::Result<(u32, u32)> {
    // SAFETY: all zero is a valid tcp_info: it has only numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = u32::try_from(size_of_val(&info)).unwrap_or(0);
    // SAFETY: the kernel writes at most `size` bytes into `info`.
    let got = unsafe {
        libc::getsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    // net/ipv4/tcp.c, tcp_get_info: for TCP_LISTEN these two fields hold the queue's length and its bound.
    if got == 0 {
        Ok((info.tcpi_unacked, info.tcpi_sacked))
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

    /// A member of a reuseport group on a port; 0 for a new one.
    fn member(port: u16) -> TcpListener {
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseport(&fd, true).unwrap();
        bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
        listen(&fd, 64).unwrap();
        TcpListener::from(fd)
    }

    #[test]
    fn connections_go_where_they_are_steered() {
        let first = member(0);
        let address = first.local_addr().unwrap();
        let group = [first, member(address.port()), member(address.port())];
        let queues = || group.each_ref().map(|socket| queue(socket).unwrap().0);
        steer(&group[0], &[1]).unwrap();
        let mut clients: Vec<TcpStream> =
            (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(queues(), [0, 8, 0]);
        steer(&group[2], &[0, 2]).unwrap();
        clients.extend((0..32).map(|_| TcpStream::connect(address).unwrap()));
        let [a, b, c] = queues();
        assert_eq!((a + c, b), (32, 8));
        assert!(a > 0 && c > 0, "32 by chance on one side only");
        assert_eq!(queue(&group[0]).unwrap().1, 64);
    }

    #[test]
    fn what_can_not_be_steered_is_refused() {
        let alone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(steer(&alone, &[]).is_err());
        assert!(steer(&alone, &vec![0; STEERED_MAX + 1]).is_err());
        assert!(queue(std::io::pipe().unwrap().0).is_err());
    }
}
