//! Names of addresses: blazesym for files and the kernel, perf maps for what runtimes compile.
//!
//! Files are opened when their mapping is first seen, beneath the root of the process that mapped them, and held: a process that ends or
//! a file that is replaced takes no names away.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};

use blazesym::MaybeDefault;
use blazesym::symbolize::source::{Elf, Kernel, Source};
use blazesym::symbolize::{Input, Symbolizer};
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, ResolveFlags, fstat, memfd_create, openat2};

use crate::perf_map::PerfMap;
use crate::profile::{Frame, FrameKind};
use crate::space::{self, Module};
use crate::target::Process;

/// Files held open; what is mapped beyond them has no function names.
const MOST_FILES: usize = 512;
const VDSO: &str = "[vdso]";

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Address {
    /// In a file, so many bytes from its start.
    File(Module, u64),
    /// In the kernel.
    Kernel(u64),
    /// In memory that is no file's.
    Free(u64),
}

#[derive(Debug)]
struct Mapped {
    path: String,
    file: Option<File>,
}

/// Files that are mapped as code, by number.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    all: Vec<Mapped>,
    /// By mount namespace and path.
    known: HashMap<(u64, String), Module>,
}

impl Modules {
    /// The number of the file that `process` has mapped by `path`; `None` for memory that is no file's.
    pub(crate) fn of(&mut self, process: &Process, path: &str) -> Option<Module> {
        // A runtime's double mapping of what it compiles: a memfd, nameless or deleted.
        let nameless = path != VDSO && (!path.starts_with('/') || path.starts_with("/memfd:"));
        if nameless || path == "//anon" || path.starts_with("/dev/zero") {
            return None;
        }
        let key = (if path == VDSO { 0 } else { process.mounts }, path.to_owned());
        if let Some(module) = self.known.get(&key) {
            return Some(*module);
        }
        let held = self.all.iter().filter(|mapped| mapped.file.is_some()).count() < MOST_FILES;
        let file =
            held.then(|| if path == VDSO { vdso() } else { opened(process, path) }).flatten();
        let module = self.all.len() as Module;
        self.all.push(Mapped { path: path.to_owned(), file });
        self.known.insert(key, module);
        Some(module)
    }
}

/// Beneath the process's root, so that its links lead where they lead for it.
fn opened(process: &Process, path: &str) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let root = process.root.as_ref()?;
    let file = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let plain = fstat(&file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    plain.then(|| file.into())
}

/// The kernel's page of functions is the same in all processes of 64 bits: a copy of our own.
fn vdso() -> Option<File> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().filter_map(space::line).find(|line| line.path == VDSO)?;
    let mut bytes = vec![0; usize::try_from(line.length).ok()?];
    let mut memory = File::open("/proc/self/mem").ok()?;
    memory.seek(SeekFrom::Start(line.start)).ok()?;
    memory.read_exact(&mut bytes).ok()?;
    let mut copy = File::from(memfd_create("vdso", MemfdFlags::CLOEXEC).ok()?);
    copy.write_all(&bytes).ok()?;
    Some(copy)
}

/// Names addresses, each once.
pub(crate) struct Namer<'a> {
    modules: &'a Modules,
    symbols: Symbolizer,
    maps: HashMap<u32, PerfMap>,
    /// What is no file's is another thing in another process; 0 for the rest.
    known: HashMap<(u32, Address), Frame>,
}

impl<'a> Namer<'a> {
    pub(crate) fn new(modules: &'a Modules) -> Self {
        // Without lines and inlined functions: a name is what the symbol table says, as perf(1) has it.
        let symbols =
            Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build();
        Self { modules, symbols, maps: HashMap::new(), known: HashMap::new() }
    }

    /// The frame at an address of a process.
    pub(crate) fn frame(&mut self, pid: u32, process: &Process, address: Address) -> Frame {
        let key = (if matches!(address, Address::Free(_)) { pid } else { 0 }, address);
        if let Some(frame) = self.known.get(&key) {
            return frame.clone();
        }
        let frame = match address {
            Address::File(module, offset) => self.in_file(module, offset),
            Address::Kernel(address) => self.in_kernel(address),
            Address::Free(address) => {
                let map = self.maps.entry(pid).or_insert_with(|| PerfMap::of(process));
                map.find(address).map_or_else(
                    || unnamed("[memory]", String::new()),
                    |name| Frame {
                        name: name.to_owned(),
                        module: String::new(),
                        kind: FrameKind::Compiled,
                    },
                )
            }
        };
        self.known.insert(key, frame.clone());
        frame
    }

    fn in_file(&self, module: Module, offset: u64) -> Frame {
        let Some(mapped) = self.modules.all.get(module as usize) else {
            return unnamed("[memory]", String::new());
        };
        let module = mapped.path.clone();
        let found = mapped.file.as_ref().and_then(|file| {
            let mut elf = Elf::new(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()));
            elf.debug_syms = false;
            self.symbol(&Source::Elf(elf), Input::FileOffset(offset))
        });
        match found {
            Some(name) => Frame { name, module, kind: FrameKind::Native },
            None => {
                let name = module.rsplit('/').next().unwrap_or_default().trim_matches(['[', ']']);
                unnamed(&format!("[{name}]"), module)
            }
        }
    }

    fn in_kernel(&self, address: u64) -> Frame {
        let kernel = Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() };
        let found = self.symbol(&Source::Kernel(kernel), Input::AbsAddr(address));
        match found {
            Some(name) => Frame { name, module: "[kernel]".to_owned(), kind: FrameKind::Kernel },
            None => unnamed("[kernel]", "[kernel]".to_owned()),
        }
    }

    /// A file that can't be read has no names: no reason to have no profile.
    fn symbol(&self, source: &Source<'_>, input: Input<u64>) -> Option<String> {
        let found = self.symbols.symbolize_single(source, input).ok()?;
        Some(found.as_sym()?.name.to_string())
    }
}

fn unnamed(name: &str, module: String) -> Frame {
    Frame { name: name.to_owned(), module, kind: FrameKind::Unnamed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_program_and_one_of_the_kernels_page_have_names() {
        let own = Process::look(std::process::id());
        let mut modules = Modules::default();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let here = vdso as *const () as u64;
        let line = maps
            .lines()
            .filter_map(space::line)
            .find(|line| (line.start..line.start + line.length).contains(&here));
        let line = line.unwrap();
        let module = modules.of(&own, line.path).unwrap();
        assert_eq!(modules.of(&own, line.path), Some(module), "known by now");
        for none in ["", "//anon", "[heap]", "/memfd:jit (deleted)", "anon_inode:x"] {
            assert_eq!(modules.of(&own, none), None, "{none}");
        }
        let page = modules.of(&own, VDSO).unwrap();
        let mut namer = Namer::new(&modules);
        let offset = here - line.start + line.offset;
        let frame = namer.frame(1, &own, Address::File(module, offset));
        assert!(frame.name.contains("names::vdso"), "{frame:?}");
        assert_eq!(frame.kind, FrameKind::Native);
        assert_eq!(namer.frame(1, &own, Address::File(page, 1 << 30)).name, "[vdso]");
        assert_eq!(namer.frame(1, &own, Address::Free(16)).kind, FrameKind::Unnamed);
    }

    #[test]
    fn a_pipe_is_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        let own = Process::look(std::process::id());
        assert!(opened(&own, path.to_str().unwrap()).is_none());
    }
}
