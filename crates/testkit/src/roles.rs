//! The other processes of a test with a real keeper: one test binary is keeper, daemon's stand-in and test, told apart by
//! its first argument, so that nothing that is tested comes from an earlier build.
//!
//! ```text
//! test ── role:keeper STATE_DIR ──► keeper ── role:relay ──► relay ── pid, table, every descriptor ──► test
//! ```

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Duration;

use ganger_keeper::wire::{ChildRow, KEEPER_FD_ENV, TABLE_FD_ENV, Table, decode};
use ganger_keeper::{Helper, KeeperOptions};
use ganger_sys::adopt_fd;
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where the relay finds the test's socket.
pub const SOCKET_ENV: &str = "TEST_SOCKET";
/// A program that the keeper starts in place of the relay.
pub const DAEMON_ENV: &str = "TEST_DAEMON";

/// This binary in another role.
///
/// # Panics
/// The path of this binary is not UTF-8.
#[must_use]
pub fn helper(role: &str) -> Helper {
    let program = std::env::current_exe().expect("a process knows its program");
    let program = program.to_str().expect("tests are built at a plain path").to_owned();
    Helper { argv: vec![program.clone(), format!("role:{role}")], program }
}

/// `role:keeper STATE_DIR [adopted fd]`, and what a keeper that is upgraded to this binary is started with:
/// `role:keeper --can-resume` and `role:keeper --state-dir STATE_DIR --resume FD`
///
/// # Panics
/// The arguments are others.
#[must_use]
pub fn keeper() -> ExitCode {
    let mut args = std::env::args().skip(2).peekable();
    if args.next_if(|word| word == "--can-resume").is_some() {
        return told(ganger_keeper::offer(1));
    }
    drop(args.next_if(|word| word == "--state-dir"));
    let state_dir = args.next().expect("the second argument is the state folder").into();
    let resume = args.next_if(|word| word == "--resume").is_some();
    let fd = args.next().map(|fd| fd.parse().expect("the third argument is a descriptor"));
    let fd = fd.map(|fd| adopt_fd(fd).expect("the descriptor is open"));
    let (resume, adopt) = if resume { (fd, None) } else { (None, fd) };
    let daemon = std::env::var(DAEMON_ENV).map_or_else(
        |_| helper("relay"),
        |program| Helper { argv: vec![program.clone()], program },
    );
    let options = KeeperOptions {
        state_dir,
        foreground: false,
        adopt,
        resume,
        keeper: helper("keeper"),
        logger: helper("logger"),
        daemon,
    };
    told(ganger_keeper::run(options))
}

fn told(end: Result<(), ganger_keeper::KeeperError>) -> ExitCode {
    end.map_or_else(
        |error| {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// A descriptor that an environment variable names.
///
/// # Panics
/// It names none.
#[must_use]
pub fn inherited(name: &str) -> OwnedFd {
    let number = std::env::var(name).ok().and_then(|text| text.parse().ok());
    adopt_fd(number.expect("the keeper names the descriptor")).expect("it is open")
}

/// `role:relay`, the daemon's stand-in: hands everything it was born with to the test and lives until the test hangs up.
///
/// # Panics
/// It was not started by a keeper.
#[must_use]
pub fn relay() -> ExitCode {
    let keeper = inherited(KEEPER_FD_ENV);
    let mut file = std::fs::File::from(inherited(TABLE_FD_ENV));
    let mut body = Vec::new();
    file.read_to_end(&mut body).expect("the table can be read");
    let mut table: Table = decode("the table", &body).expect("it is a table");
    let adopted = numbers(&mut table).into_iter().map(|number| adopt_fd(*number));
    let fds = std::iter::once(Ok(keeper)).chain(adopted).collect::<Result<_, _>>();
    let fds = fds.expect("every descriptor of the table is open");
    let socket = std::env::var(SOCKET_ENV).expect("the test names its socket");
    let Ok(mut test) = UnixStream::connect(socket) else {
        // The test is over.
        return ExitCode::SUCCESS;
    };
    let mut writer = FrameWriter::new();
    let pid = format!("{}\n", std::process::id()).into_bytes();
    writer.push(&[pid, body].concat(), fds).expect("the frame is small enough");
    while writer.write(&test).expect("the test listens") == Progress::Blocked {
        let ready = poll(&mut [PollFd::new(&test, PollFlags::OUT)], None);
        ready.expect("a socket can be waited for");
    }
    let _ = test.read(&mut [0]);
    ExitCode::SUCCESS
}

/// What a relay hands over.
#[derive(Debug)]
pub struct Handed {
    /// The relay's process.
    pub pid: u32,
    /// What the keeper says of its children. Its descriptor numbers are the relay's.
    pub table: Table,
    /// The keeper's wire.
    pub keeper: OwnedFd,
    /// The table's descriptors, in the order of [`numbers`].
    pub fds: Vec<OwnedFd>,
    /// The relay lives until this is closed.
    pub relay: UnixStream,
}

/// Waits for the relay that the keeper starts next.
///
/// # Panics
/// None comes within `patience`.
#[must_use]
pub fn next_relay(listener: &UnixListener, patience: Duration) -> Handed {
    wait(listener, patience, "a daemon");
    let (relay, _) = listener.accept().expect("a relay connects");
    let mut reader = FrameReader::new();
    let frame = loop {
        wait(&relay, patience, "the daemon's table");
        reader.read(&relay).expect("the relay writes frames");
        if let Some(frame) = reader.next_frame().expect("the relay writes frames") {
            break frame;
        }
    };
    let at = frame.body.iter().position(|byte| *byte == b'\n').expect("a line with its pid");
    let pid = std::str::from_utf8(&frame.body[..at]).ok().and_then(|text| text.parse().ok());
    let mut fds = frame.fds.into_iter();
    Handed {
        pid: pid.expect("its pid is a number"),
        table: decode("the table", &frame.body[at + 1..]).expect("it is a table"),
        keeper: fds.next().expect("the keeper's wire comes first"),
        fds: fds.collect(),
        relay,
    }
}

/// Waits until something can be read.
///
/// # Panics
/// Nothing comes within `patience`.
pub fn wait(fd: impl std::os::fd::AsFd, patience: Duration, what: &str) {
    assert!(readable_within(fd, patience), "nothing within {patience:?}: {what}");
}

/// True once something can be read; false when nothing came within `limit`.
///
/// # Panics
/// It can't be waited for.
pub fn readable_within(fd: impl std::os::fd::AsFd, limit: Duration) -> bool {
    let timeout = Timespec::try_from(limit).expect("a limit is short");
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
    ready.expect("a descriptor can be waited for") > 0
}

/// Every descriptor number of a table, in a fixed order.
pub fn numbers(table: &mut Table) -> Vec<&mut i32> {
    fn of_child(row: &mut ChildRow) -> impl Iterator<Item = &mut i32> {
        let all =
            [&mut row.pidfd, &mut row.channel, &mut row.stdin, &mut row.stdout, &mut row.stderr];
        all.into_iter().flatten()
    }
    let children = table.children.iter_mut().flat_map(of_child);
    let held = table.held.iter_mut().map(|row| &mut row.fd);
    children.chain(held).chain(table.lock_fd.as_mut()).chain(table.api_fd.as_mut()).collect()
}
