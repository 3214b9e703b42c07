//! Descriptors of a plan: what the child gets and what stays here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::pipe::PipeFlags;

use crate::child::{Ends, Out};
use crate::wire::{Output, Plan, Stdin};

/// Most bytes a capture may keep: it is memory.
const MAX_CAPTURE: u64 = 256 << 20;

/// Descriptor and number in the child; the daemon's ends.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    pub(crate) given: Vec<(OwnedFd, u32)>,
    pub(crate) ends: Ends,
    /// The channel's number in the child.
    pub(crate) channel: Option<u32>,
}

/// Makes everything but log pipes, which `log` gives out: they outlive the child.
pub(crate) fn make(
    plan: &Plan,
    passed: Option<OwnedFd>,
    mut log: impl FnMut(u32, &ganger_core::logwire::LogTarget) -> io::Result<OwnedFd>,
) -> io::Result<Stdio> {
    let mut stdio = Stdio::default();
    match plan.stdin {
        Stdin::Null => stdio.given.push((null(OFlags::RDONLY)?, 0)),
        Stdin::Passed => {
            let fd = passed.ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, "no descriptor came for stdin")
            })?;
            stdio.given.push((fd, 0));
        }
        Stdin::Pipe => {
            let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            stdio.given.push((reader, 0));
            stdio.ends.stdin = Some(writer);
        }
        Stdin::Inherit => {}
    }
    for (number, output) in [(1, &plan.stdout), (2, &plan.stderr)] {
        let end = match output {
            Output::Log(target) => {
                stdio.given.push((log(number, target)?, number));
                None
            }
            Output::Capture { cap_bytes } => {
                let memory = capture(*cap_bytes)?;
                stdio.given.push((memory.try_clone()?, number));
                Some(Out::Memory(memory))
            }
            Output::Pipe => {
                let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                stdio.given.push((writer, number));
                Some(Out::Pipe(reader))
            }
            Output::Null => {
                stdio.given.push((null(OFlags::WRONLY)?, number));
                None
            }
            Output::Inherit => None,
        };
        let place = if number == 1 { &mut stdio.ends.stdout } else { &mut stdio.ends.stderr };
        *place = end;
    }
    if let Some(channel) = &plan.channel {
        let first_free = 3 + u32::try_from(plan.inherit.len()).unwrap_or(0);
        let number = channel.fd.unwrap_or(first_free);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        stdio.given.push((theirs.into(), number));
        stdio.ends.channel = Some(ours.into());
        stdio.channel = Some(number);
    }
    Ok(stdio)
}

fn null(mode: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", mode | OFlags::CLOEXEC, Mode::empty())?)
}

/// Memory that is as long as its cap and can't grow: writes beyond fail with EPERM. The file position, shared with the
/// child, is what was written; when the tree has ended the size is set to it.
pub(crate) fn capture(cap: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("ganger-capture", flags)?;
    rustix::fs::ftruncate(&memory, cap.min(MAX_CAPTURE))?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::GROW)?;
    Ok(memory)
}

/// Which kind an inherited output is: only memory has seals.
pub(crate) fn inherited_output(fd: OwnedFd) -> Out {
    match rustix::fs::fcntl_get_seals(fd.as_fd()) {
        Ok(_) => Out::Memory(fd),
        Err(_) => Out::Pipe(fd),
    }
}
