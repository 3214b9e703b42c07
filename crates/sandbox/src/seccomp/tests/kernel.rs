//! The filters on a thread of this process. Each attack first succeeds, or fails for another reason, without the filter.

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketType, netlink, socket, socketpair};

use super::super::{Calls, Filter};

/// What this gives on a thread of its own under these calls.
fn under<T: Send + 'static>(calls: Calls, what: impl FnOnce() -> T + Send + 'static) -> T {
    let filter = Filter::of(&calls.rules());
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        ganger_sys::seccomp::install(filter.instructions()).expect("the kernel takes the filter");
        what()
    });
    thread.join().expect("the thread lives")
}

fn open((family, protocol): (AddressFamily, Option<Protocol>)) -> Result<(), Errno> {
    socket(family, SocketType::DGRAM, protocol).map(drop)
}

#[test]
fn families_of_sockets() {
    let all = [
        (AddressFamily::UNIX, None),
        (AddressFamily::INET, None),
        // Routes.
        (AddressFamily::NETLINK, None),
        (AddressFamily::NETLINK, Some(netlink::USERSOCK)),
    ];
    let (had, refused) = (Ok(()), Err(Errno::AFNOSUPPORT));
    assert_eq!(all.map(open), [had; 4], "the control");
    assert_eq!(under(Calls::Strict, move || all.map(open)), [had, refused, refused, refused]);
    assert_eq!(under(Calls::Standard, move || all.map(open)), [had, had, had, refused]);
}

#[test]
fn work_goes_on_under_the_strictest() {
    let sum = under(Calls::Strict, || {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a"), "12").expect("write");
        let (one, two) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair");
        rustix::io::write(&one, b"30").expect("write");
        let mut said = [0; 2];
        rustix::io::read(&two, &mut said).expect("read");
        let child = std::process::Command::new("/bin/echo").arg("100").output().expect("a child");
        let numbers =
            [std::fs::read(folder.path().join("a")).expect("read"), said.to_vec(), child.stdout];
        let number = |text: &Vec<u8>| String::from_utf8_lossy(text).trim().parse::<u32>().ok();
        std::thread::spawn(move || numbers.iter().filter_map(number).sum::<u32>()).join()
    });
    assert_eq!(sum.expect("a thread of a thread"), 142);
}

#[test]
fn namespaces_and_memfds() {
    use rustix::thread::UnshareFlags;
    // A thread's own descriptor table needs no right, so it shows that the call as such is refused.
    #[expect(deprecated, reason = "its successor is unsafe, and this thread has no descriptors")]
    let unshare = || rustix::thread::unshare(UnshareFlags::FS);
    let memfd = || rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).map(drop);
    let control = std::thread::spawn(move || (unshare(), memfd())).join().expect("the control");
    assert_eq!(control, (Ok(()), Ok(())));
    let refused = (Err(Errno::PERM), Err(Errno::NOSYS));
    assert_eq!(under(Calls::Strict, move || (unshare(), memfd())), refused);
    assert_eq!(under(Calls::Build, memfd), Ok(()));
}
