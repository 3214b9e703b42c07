//! The logger of a test.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use ganger_core::Stream;
use ganger_core::logwire::{LogReply, LogRequest};
use ganger_keeper::wire::{LOGGER_FD_ENV, decode, encode};
use ganger_sys::frame::{FrameReader, FrameWriter, Progress};
use ganger_testkit::roles::inherited;
use rustix::event::{PollFd, PollFlags, poll};

/// A logger of few words: bytes go to `DIR/NAME.SLOT.STREAM`.
pub(crate) fn logger() -> ExitCode {
    let control = inherited(LOGGER_FD_ENV);
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
