//! What a program needs to start: its loader, and the libraries that the loader maps before `main`.
//!
//! ```text
//! program ── #! ──► interpreter ── … (at most four)
//!    │ ELF
//!    ├─ PT_INTERP ──► loader
//!    └─ DT_NEEDED ──► library ── DT_NEEDED ──► …     searched as ld.so(8) does, without LD_LIBRARY_PATH
//! ```
//!
//! What a program opens later by itself (plugins, locales, a script's modules) is not in it: no reading of files can tell. Nothing is run.

mod cache;
mod elf;
mod known;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use elf::Object;
use rustix::fs::{Mode, OFlags};
use search::Search;

/// Interpreters in a row that the kernel follows (`exec_binprm` of fs/exec.c).
const INTERPRETERS_MAX: usize = 4;
/// Bytes of a script's first line that the kernel reads (BINPRM_BUF_SIZE of linux/binfmts.h).
const FIRST_LINE: u64 = 256;
/// Libraries of one program. A browser has 200.
const LIBRARIES_MAX: usize = 1024;

/// The files of a program's start, each under the path that the kernel or the loader opens it by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closure {
    /// The program; for a script, the interpreters and then nothing: the script itself comes first.
    pub programs: Vec<PathBuf>,
    /// ld.so, where the last program has one.
    pub loader: Option<PathBuf>,
    /// In the order in which they are found.
    pub libraries: Vec<PathBuf>,
    /// Libraries that are nowhere: the program will not start, unless it never gets that far.
    pub missing: Vec<Missing>,
}

/// A library that was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As DT_NEEDED names it.
    pub name: String,
    /// Who needs it.
    pub by: PathBuf,
}

/// A program's files can't be told.
#[derive(Debug, thiserror::Error)]
pub enum ClosureError {
    /// A file can't be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither a script nor a program of this machine.
    #[error("{} is no program that this machine runs: {why}", path.display())]
    NoProgram {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Scripts that are run by scripts.
    #[error("{} is run by a script that is run by a script …: more than {INTERPRETERS_MAX}", path.display())]
    Scripts {
        /// The first.
        path: PathBuf,
    },
    /// More than any program has.
    #[error("{} needs more than {LIBRARIES_MAX} libraries", path.display())]
    Libraries {
        /// Which program.
        path: PathBuf,
    },
}

impl Closure {
    /// The closure of the program at this absolute path.
    ///
    /// # Errors
    /// A file of it can't be read or is no program, see [`ClosureError`]. A library that isn't there is no error: [`Closure::missing`].
    pub fn of(program: &Path) -> Result<Self, ClosureError> {
        let mut closure = Self::default();
        let mut path = program.to_path_buf();
        while let Some(interpreter) = interpreter_of_script(&path)? {
            closure.programs.push(path);
            if closure.programs.len() > INTERPRETERS_MAX {
                return Err(ClosureError::Scripts { path: program.to_path_buf() });
            }
            path = interpreter;
        }
        let object = Object::read(&path)?;
        closure.programs.push(path.clone());
        closure.loader.clone_from(&object.interpreter);
        closure.follow(path, object, &Search::of_this_machine())?;
        Ok(closure)
    }

    /// All of its files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let all = self.programs.iter().chain(&self.loader).chain(&self.libraries);
        all.map(PathBuf::as_path)
    }

    /// Breadth first, as the loader does: the first library of a name serves all.
    fn follow(
        &mut self,
        path: PathBuf,
        object: Object,
        search: &Search,
    ) -> Result<(), ClosureError> {
        let program = path.clone();
        let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
        // Who needs, and the DT_RPATHs of those that led to it.
        let mut open: VecDeque<(PathBuf, Object, Vec<PathBuf>)> = [(path, object, vec![])].into();
        while let Some((path, object, inherited)) = open.pop_front() {
            let rpath = object.folders(&object.rpath, &path);
            // An object with DT_RUNPATH ignores every DT_RPATH for its own needs.
            let mut folders: Vec<PathBuf> = Vec::new();
            if object.runpath.is_empty() {
                folders.extend(rpath.iter().chain(&inherited).cloned());
            }
            let runpath = object.folders(&object.runpath, &path);
            for name in &object.needed {
                if !names.insert(name.clone()) || self.is_loader(name) {
                    continue;
                }
                let Some(found) = search.find(name, &folders, &runpath) else {
                    let name = String::from_utf8_lossy(name).into_owned();
                    self.missing.push(Missing { name, by: path.clone() });
                    continue;
                };
                if self.libraries.len() >= LIBRARIES_MAX {
                    return Err(ClosureError::Libraries { path: program });
                }
                let library = Object::read(&found)?;
                self.libraries.push(found.clone());
                let inherited = rpath.iter().chain(&inherited).cloned().collect();
                open.push_back((found, library, inherited));
            }
        }
        Ok(())
    }

    /// The loader is mapped already, and libraries may name it.
    fn is_loader(&self, name: &[u8]) -> bool {
        let loader = self.loader.as_deref().and_then(Path::file_name);
        loader.is_some_and(|loader| loader.as_bytes() == name)
    }
}

/// Opens a file to read it, and never waits: a pipe that somebody put there would hold who starts everyone's children.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

/// The program that runs this file, if its first line says one, as the kernel reads it.
fn interpreter_of_script(path: &Path) -> Result<Option<PathBuf>, ClosureError> {
    let read = |source| ClosureError::Read { path: path.to_path_buf(), source };
    let mut head = Vec::new();
    open(path).map_err(read)?.take(FIRST_LINE).read_to_end(&mut head).map_err(read)?;
    let Some(line) = head.strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let name = line.split(blank).find(|word| !word.is_empty()).unwrap_or_default();
    if !name.starts_with(b"/") {
        let why = "its first line is `#!` without the full path of a program";
        return Err(ClosureError::NoProgram { path: path.to_path_buf(), why });
    }
    Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(name))))
}
