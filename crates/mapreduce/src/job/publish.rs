//! The folder of a job while it runs, and the one step that makes its result appear.
//!
//! ```text
//! OUT's folder/.OUT.ganger-job/  journal · attempts/ (one file each) · out/ (links to what counts, _manifest, _SUCCESS)
//!                                                                        └─ synced ─ renamed to OUT, which must not be there
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ganger_sys::torture::reach;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::RunError;
use super::journal::Row;

/// Names the parts of a result: `NAME TAB BYTES TAB CRC-32` each.
pub const MANIFEST: &str = "_manifest";
/// Hadoop's sign that a result is whole; empty.
const SUCCESS: &str = "_SUCCESS";
/// Tasks that were given up, with their reasons.
const DEAD: &str = "_dead";

/// The job's own folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    output: PathBuf,
}

impl Folder {
    pub(super) fn of(output: &Path) -> Result<Self, RunError> {
        let whole = std::path::absolute(output).map_err(RunError::io("name", output))?;
        let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(RunError::OutputExists { path: whole });
        };
        let mut own = std::ffi::OsString::from(".");
        own.push(name);
        own.push(".ganger-job");
        Ok(Self { path: parent.join(own), output: whole })
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(super) fn attempts(&self) -> PathBuf {
        self.path.join("attempts")
    }

    /// Makes what is not there.
    pub(super) fn make(&self) -> Result<(), RunError> {
        let attempts = self.attempts();
        std::fs::create_dir_all(&attempts).map_err(RunError::io("create", &attempts))?;
        reach("mapreduce.folder");
        Ok(())
    }

    /// Takes all of it away: it is the job's own.
    pub(super) fn remove(&self) -> Result<(), RunError> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(RunError::io("remove", &self.path)),
        }
    }

    /// The result of this very job is there already: its process died behind the rename.
    pub(super) fn is_published(&self, parts: &[(PathBuf, Row)]) -> bool {
        std::fs::read_to_string(self.output.join(MANIFEST)).is_ok_and(|had| had == manifest(parts))
    }

    pub(super) fn publish(
        &self,
        parts: &[(PathBuf, Row)],
        dead: &[(String, String)],
    ) -> Result<(), RunError> {
        let out = self.path.join("out");
        match std::fs::remove_dir_all(&out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RunError::io("remove", &out)(error));
            }
            _ => {}
        }
        std::fs::create_dir(&out).map_err(RunError::io("create", &out))?;
        reach("mapreduce.publish.begun");
        for (n, (path, _)) in parts.iter().enumerate() {
            let part = out.join(part_name(n));
            std::fs::hard_link(path, &part).map_err(RunError::io("link", &part))?;
            reach("mapreduce.publish.linked");
        }
        if !dead.is_empty() {
            let lines: Vec<String> =
                dead.iter().map(|(task, why)| format!("{task}\t{why}\n")).collect();
            written(&out.join(DEAD), &lines.concat())?;
        }
        written(&out.join(MANIFEST), &manifest(parts))?;
        reach("mapreduce.publish.manifest");
        written(&out.join(SUCCESS), "")?;
        synced(&out)?;
        reach("mapreduce.publish.synced");
        self.rename(&out)?;
        reach("mapreduce.publish.renamed");
        if let Some(parent) = self.output.parent() {
            synced(parent)?;
        }
        reach("mapreduce.publish.done");
        self.remove()
    }

    fn rename(&self, out: &Path) -> Result<(), RunError> {
        let exists = || RunError::OutputExists { path: self.output.clone() };
        match renameat_with(CWD, out, CWD, &self.output, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Err(exists()),
            // A file system that can't: an empty folder of ours is replaced, one with anything in it is not.
            Err(Errno::INVAL | Errno::NOSYS) => {
                std::fs::create_dir(&self.output).map_err(|_| exists())?;
                std::fs::rename(out, &self.output).map_err(RunError::io("rename", out))
            }
            Err(error) => Err(RunError::io("rename", out)(error.into())),
        }
    }
}

fn part_name(number: usize) -> String {
    format!("part-{number:05}")
}

fn manifest(parts: &[(PathBuf, Row)]) -> String {
    let mut text = String::new();
    for (n, (_, row)) in parts.iter().enumerate() {
        let _ = writeln!(text, "{}\t{}\t{:08x}", part_name(n), row.bytes, row.crc);
    }
    text
}

fn written(path: &Path, text: &str) -> Result<(), RunError> {
    let file = File::create_new(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    file.map_err(RunError::io("write", path))
}

fn synced(folder: &Path) -> Result<(), RunError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(RunError::io("sync", folder))
}
