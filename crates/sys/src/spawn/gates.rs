//! Descriptors between a parent and a child with walls.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

use super::parent::at;
use super::prepared::Prepared;
use super::walls::{IdMap, Namespaces};
use super::{SpawnError, Spec, Step};

/// What a walled child needs beside its error pipe; nothing of it is open for another one.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// Where the parent says that the id maps are written, and the child's end of it.
    go: Option<(OwnedFd, OwnedFd)>,
    /// The child's end of the outcome.
    told: Option<OwnedFd>,
    /// Landlock's ruleset above all numbers that the child fills, if it was not there.
    _ruleset: Option<OwnedFd>,
    /// The parent's end of the outcome.
    pub(super) outcome: Option<OwnedFd>,
}

impl Gates {
    /// Opens them and tells the child their numbers.
    pub(super) fn open(spec: &Spec<'_>, child: &mut Prepared) -> Result<Self, SpawnError> {
        let mut gates = Self::default();
        let Some(walls) = &spec.walls else { return Ok(gates) };
        let fail = |errno: rustix::io::Errno| at(Step::Pipe)(errno.into());
        if walls.ids.as_ref().is_some_and(|ids| ids.by_parent) {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
            child.go = [reader.as_raw_fd(), writer.as_raw_fd()];
            gates.go = Some((writer, reader));
        }
        if walls.namespaces.has(Namespaces::PID) {
            let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
            let (reader, writer) = pipe_with(flags).map_err(fail)?;
            child.told = writer.as_raw_fd();
            (gates.outcome, gates.told) = (Some(reader), Some(writer));
            #[cfg(target_arch = "x86_64")]
            {
                child.stack = super::vfork::stack();
                child.image = super::walls::image();
            }
        }
        if let Some(landlock) = &walls.landlock {
            child.ruleset = landlock.ruleset.as_raw_fd();
            if child.ruleset < child.base {
                let moved = rustix::io::fcntl_dupfd_cloexec(&landlock.ruleset, child.base);
                let moved = moved.map_err(fail)?;
                child.ruleset = moved.as_raw_fd();
                gates._ruleset = Some(moved);
            }
        }
        Ok(gates)
    }

    /// After the clone: writes the maps where that is the parent's, and lets the child go on.
    pub(super) fn pass(&mut self, spec: &Spec<'_>, pid: u32) -> Result<(), SpawnError> {
        self.told = None;
        let Some((go, theirs)) = self.go.take() else { return Ok(()) };
        drop(theirs);
        if let Some(ids) = spec.walls.as_ref().and_then(|walls| walls.ids.as_ref()) {
            map(ids, pid).map_err(at(Step::IdMap))?;
        }
        // A child that is gone is told of by its pipe's end.
        let _ = File::from(go).write(b"g");
        Ok(())
    }
}

fn map(ids: &IdMap, pid: u32) -> io::Result<()> {
    let write = |name: &str, text: &std::ffi::CStr| {
        let mut file = File::options().write(true).open(format!("/proc/{pid}/{name}"))?;
        file.write_all(text.to_bytes())
    };
    write("uid_map", &ids.uids)?;
    write("gid_map", &ids.gids)
}
