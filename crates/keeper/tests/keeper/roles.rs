//! The other processes of a test: keeper, daemon and logger.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use ganger_core::Stream;
use ganger_core::logwire::{LogReply, LogRequest};
use ganger_keeper::wire::{KEEPER_FD_ENV, LOGGER_FD_ENV, TABLE_FD_ENV, Table, decode, encode};
use ganger_keeper::{Helper, KeeperOptions};
use ganger_sys::adopt_fd;
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};
use rustix::event::{PollFd, PollFlags, poll};

/// Where the relay finds the test.
pub(crate) const SOCKET_ENV: &str = "TEST_SOCKET";

/// This binary in another role.
pub(crate) fn helper(role: &str) -> Helper {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    Helper { argv: vec![program.clone(), format!("role:{role}")], program }
}

/// `role:keeper STATE_DIR [adopted fd]`
pub(crate) fn keeper() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let adopt = args.get(3).map(|fd| adopt_fd(fd.parse().unwrap()).unwrap());
    let daemon = match std::env::var("TEST_DAEMON") {
        Ok(program) => Helper { argv: vec![program.clone()], program },
        Err(_) => helper("relay"),
    };
    let options = KeeperOptions {
        state_dir: args[2].clone().into(),
        foreground: false,
        adopt,
        logger: helper("logger"),
        daemon,
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

/// The daemon: hands everything it was born with to the test and lives until the test hangs up.
pub(crate) fn relay() -> ExitCode {
    let keeper = adopt_fd(number(KEEPER_FD_ENV)).unwrap();
    let mut file = std::fs::File::from(adopt_fd(number(TABLE_FD_ENV)).unwrap());
    let mut body = Vec::new();
    file.read_to_end(&mut body).unwrap();
    let table: Table = decode("the table", &body).unwrap();
    let mut fds = vec![keeper];
    for number in numbers(&table) {
        fds.push(adopt_fd(number).unwrap());
    }
    let Ok(mut test) = UnixStream::connect(std::env::var(SOCKET_ENV).unwrap()) else {
        // The test is over.
        return ExitCode::SUCCESS;
    };
    let mut writer = FrameWriter::new();
    let frame = format!("{}\n", std::process::id()).into_bytes();
    writer.push(&[frame, body].concat(), fds).unwrap();
    while writer.write(&test).unwrap() == Progress::Blocked {
        poll(&mut [PollFd::new(&test, PollFlags::OUT)], None).unwrap();
    }
    let _ = test.read(&mut [0]);
    ExitCode::SUCCESS
}

/// Every descriptor of a table, in a fixed order.
pub(crate) fn numbers(table: &Table) -> Vec<i32> {
    let of_child = |row: &ganger_keeper::wire::ChildRow| {
        [row.pidfd, row.channel, row.stdin, row.stdout, row.stderr]
    };
    let children = table.children.iter().flat_map(of_child).flatten();
    let held = table.held.iter().map(|row| row.fd);
    children.chain(held).chain(table.lock_fd).chain(table.api_fd).collect()
}

/// A logger of few words: bytes go to `DIR/NAME.SLOT.STREAM`.
pub(crate) fn logger() -> ExitCode {
    let control = adopt_fd(number(LOGGER_FD_ENV)).unwrap();
    let (mut reader, mut writer) = (FrameReader::new(), FrameWriter::new());
    let mut pipes: HashMap<(String, u32, Stream), OwnedFd> = HashMap::new();
    let mut dir = String::new();
    loop {
        let progress = reader.read(&control).unwrap();
        while let Some(mut frame) = reader.next_frame().unwrap() {
            let reply = match decode("a request", &frame.body).unwrap() {
                LogRequest::Hello { dir: given, .. } => {
                    dir = given;
                    None
                }
                LogRequest::Add { target, stream } => {
                    pipes.insert((target.name, target.slot, stream), frame.fds.remove(0));
                    None
                }
                LogRequest::Retire { name, slot, stream } => {
                    drain(&dir, &pipes);
                    pipes.remove(&(name.clone(), slot, stream));
                    Some(LogReply::Retired { name, slot, stream })
                }
                LogRequest::Flush { tag } => {
                    drain(&dir, &pipes);
                    Some(LogReply::Flushed { tag })
                }
            };
            if let Some(reply) = reply {
                writer.push(&encode(&reply), Vec::new()).unwrap();
            }
        }
        let _ = writer.write(&control);
        drain(&dir, &pipes);
        if progress == Progress::Eof {
            return ExitCode::SUCCESS;
        }
        let mut waits = vec![PollFd::new(&control, PollFlags::IN)];
        waits.extend(pipes.values().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        poll(&mut waits, None).unwrap();
    }
}

fn drain(dir: &str, pipes: &HashMap<(String, u32, Stream), OwnedFd>) {
    for ((name, slot, stream), pipe) in pipes {
        let path = format!("{dir}/{name}.{slot}.{stream}");
        let mut block = [0; 65_536];
        while let Ok(got @ 1..) = rustix::io::read(pipe.as_fd(), &mut block[..]) {
            let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
            file.write_all(&block[..got]).unwrap();
        }
    }
}
