//! What the loader reads of an ELF file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef, StringTable};

use super::{ClosureError, open};

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;

/// `$LIB` and `$PLATFORM` of ld.so(8).
const LIB: &str = "lib64";
const PLATFORM: &str = std::env::consts::ARCH;

/// Bytes of program headers that the kernel takes (`load_elf_phdrs` of fs/binfmt_elf.c). What the file says is not to be believed: a
/// sparse one has any length, and whoever reads it would need as much memory.
const HEADERS_MAX: usize = 65536;
/// Bytes of the dynamic section. The largest programs have some KiB.
const DYNAMIC_MAX: u64 = 1 << 20;
/// Bytes of a path (PATH_MAX of linux/limits.h): the kernel takes no longer interpreter.
const INTERPRETER_MAX: u64 = 4096;
/// Bytes of one name or search path.
const TEXT_MAX: usize = 64 << 10;

/// A program or a library.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) interpreter: Option<PathBuf>,
    pub(super) needed: Vec<Vec<u8>>,
    /// DT_RPATH, as it is written.
    pub(super) rpath: Vec<u8>,
    /// DT_RUNPATH.
    pub(super) runpath: Vec<u8>,
}

impl Object {
    pub(super) fn read(path: &Path) -> Result<Self, ClosureError> {
        let file =
            open(path).map_err(|source| ClosureError::Read { path: path.to_path_buf(), source })?;
        parse(&ReadCache::new(file))
            .map_err(|why| ClosureError::NoProgram { path: path.to_path_buf(), why })
    }

    /// The folders of a search path, `$ORIGIN` filled in. One that isn't absolute is left out: it would depend on where the program is
    /// started.
    pub(super) fn folders(&self, list: &[u8], path: &Path) -> Vec<PathBuf> {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let origin = real.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes().to_vec();
        let words = [("ORIGIN", origin), ("LIB", LIB.into()), ("PLATFORM", PLATFORM.into())];
        list.split(|byte| *byte == b':')
            .map(|folder| filled(folder, &words))
            .map(|folder| PathBuf::from(OsStr::from_bytes(&folder)))
            .filter(|folder| folder.is_absolute())
            .collect()
    }
}

/// `$NAME` and `${NAME}` replaced.
fn filled(text: &[u8], words: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let word = words.iter().find_map(|(name, value)| {
            let braced = after.strip_prefix(b"{").and_then(|it| it.strip_prefix(name.as_bytes()));
            let end = braced.and_then(|it| it.strip_prefix(b"}"));
            end.or_else(|| after.strip_prefix(name.as_bytes())).map(|end| (value, end))
        });
        match word.filter(|_| *first == b'$') {
            Some((value, end)) => {
                out.extend(value);
                rest = end;
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn parse<'data, R: ReadRef<'data>>(data: R) -> Result<Object, &'static str> {
    const BROKEN: &str = "its ELF headers are broken";
    let header = FileHeader64::<Endianness>::parse(data).map_err(|_| "it is no 64-bit ELF file")?;
    let endian = header.endian().map_err(|_| BROKEN)?;
    if header.e_machine(endian) != MACHINE {
        return Err("it is for another processor");
    }
    if usize::from(header.e_phnum(endian)) * size_of::<ProgramHeader64<Endianness>>() > HEADERS_MAX
    {
        return Err(BROKEN);
    }
    let segments = header.program_headers(endian, data).map_err(|_| BROKEN)?;
    let mut object = Object::default();
    let mut dynamic = &[][..];
    for segment in segments {
        let most = match segment.p_type(endian) {
            elf::PT_INTERP => INTERPRETER_MAX,
            elf::PT_DYNAMIC => DYNAMIC_MAX,
            _ => continue,
        };
        if segment.p_filesz(endian) > most {
            return Err(BROKEN);
        }
        if let Some(path) = segment.interpreter(endian, data).map_err(|_| BROKEN)? {
            object.interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
        if let Some(found) = segment.dynamic(endian, data).map_err(|_| BROKEN)? {
            dynamic = found;
        }
    }
    let value = |wanted: elf::DynamicTag| {
        dynamic.iter().find(|entry| entry.tag(endian) == wanted).map(|entry| entry.val(endian))
    };
    let Some(address) = value(elf::DT_STRTAB) else { return Ok(object) };
    let size = value(elf::DT_STRSZ).unwrap_or_default();
    let start = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
        .find_map(|segment| {
            let inside = address.checked_sub(segment.p_vaddr(endian))?;
            (inside < segment.p_filesz(endian))
                .then(|| segment.p_offset(endian).saturating_add(inside))
        })
        .ok_or(BROKEN)?;
    let strings = StringTable::new(data, start, start.saturating_add(size));
    for entry in dynamic {
        let tag = entry.tag(endian);
        if tag == elf::DT_NULL {
            break;
        }
        if tag != elf::DT_NEEDED && tag != elf::DT_RPATH && tag != elf::DT_RUNPATH {
            continue;
        }
        let text = entry.string(endian, strings).map_err(|_| BROKEN)?.to_vec();
        if text.len() > TEXT_MAX {
            return Err(BROKEN);
        }
        match tag {
            elf::DT_RPATH => object.rpath = text,
            elf::DT_RUNPATH => object.runpath = text,
            _ => object.needed.push(text),
        }
    }
    Ok(object)
}
