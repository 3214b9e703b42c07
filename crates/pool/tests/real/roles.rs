//! The other processes of a test: keeper, logger and the daemon's stand-in.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use ganger_keeper::wire::{KEEPER_FD_ENV, LOGGER_FD_ENV, TABLE_FD_ENV, Table, decode};
use ganger_keeper::{Helper, KeeperOptions};
use ganger_sys::adopt_fd;
use ganger_sys::frame::{FrameWriter, Progress};
use rustix::event::{PollFd, PollFlags, poll};

/// Where the stand-in finds the test.
pub(crate) const SOCKET_ENV: &str = "TEST_SOCKET";

/// This binary in another role.
pub(crate) fn helper(role: &str) -> Helper {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    Helper { argv: vec![program.clone(), format!("role:{role}")], program }
}

/// `role:keeper STATE_DIR`
pub(crate) fn keeper() -> ExitCode {
    let options = KeeperOptions {
        state_dir: std::env::args().nth(2).unwrap().into(),
        foreground: false,
        adopt: None,
        logger: helper("logger"),
        daemon: helper("relay"),
    };
    match ganger_keeper::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn number(name: &str) -> i32 {
    std::env::var(name).unwrap().parse().unwrap()
}

pub(crate) fn logger() -> ExitCode {
    ganger_logs::mover::run(adopt_fd(number(LOGGER_FD_ENV)).unwrap()).unwrap();
    ExitCode::SUCCESS
}

/// The daemon: hands everything it was born with to the test and lives until the test hangs up.
pub(crate) fn relay() -> ExitCode {
    let keeper = adopt_fd(number(KEEPER_FD_ENV)).unwrap();
    let mut file = std::fs::File::from(adopt_fd(number(TABLE_FD_ENV)).unwrap());
    let mut body = Vec::new();
    file.read_to_end(&mut body).unwrap();
    let mut table: Table = decode("the table", &body).unwrap();
    let mut fds = vec![keeper];
    for number in numbers(&mut table) {
        fds.push(adopt_fd(*number).unwrap());
    }
    let Ok(mut test) = UnixStream::connect(std::env::var(SOCKET_ENV).unwrap()) else {
        // The test is over.
        return ExitCode::SUCCESS;
    };
    let mut writer = FrameWriter::new();
    writer.push(&body, fds).unwrap();
    while writer.write(&test).unwrap() == Progress::Blocked {
        poll(&mut [PollFd::new(&test, PollFlags::OUT)], None).unwrap();
    }
    let _ = test.read(&mut [0]);
    ExitCode::SUCCESS
}

/// Every descriptor number of a table, in a fixed order.
pub(crate) fn numbers(table: &mut Table) -> Vec<&mut i32> {
    let mut all = Vec::new();
    for row in &mut table.children {
        let of_child =
            [&mut row.pidfd, &mut row.channel, &mut row.stdin, &mut row.stdout, &mut row.stderr];
        all.extend(of_child.into_iter().flatten());
    }
    all.extend(table.held.iter_mut().map(|row| &mut row.fd));
    all.extend(table.lock_fd.as_mut());
    all.extend(table.api_fd.as_mut());
    all
}
