//! The guest's whole file system, as one uncompressed cpio archive that the kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpio::Cpio;
use super::packages::Tools;
use super::suite::{self, Suite};
use crate::sh;

const INIT: &str = include_str!("init.sh");
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    tester:x:1000:1000:tester:/home/tester:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\ntester:x:1000:\nnogroup:x:65534:\n";

/// This machine's own programs that tests start, for busybox's differ in details (`ps -p`, `sh`). Those that are missing here
/// are busybox's there.
const PROGRAMS: [&str; 47] = [
    "awk", "bash", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "env", "expr", "false",
    "grep", "head", "id", "kill", "ln", "ls", "mkdir", "mkfifo", "mktemp", "mount", "mv", "nice",
    "nproc", "printf", "ps", "pwd", "readlink", "rm", "sed", "seq", "setpriv", "setsid", "sh",
    "sleep", "sort", "stat", "tail", "tee", "timeout", "touch", "tr", "true", "umount", "unshare",
    "yes",
];

/// Folders that every machine has.
const FOLDERS: [&str; 13] = [
    "/proc",
    "/sys",
    "/dev",
    "/tmp",
    "/run",
    "/root",
    "/home/tester",
    "/etc",
    "/mnt",
    "/opt",
    "/srv",
    "/var/tmp",
    "/var/log",
];

/// Writes the archive and returns its size in bytes.
pub(crate) fn write(image: &Path, tools: &Tools, suite: &Suite) -> Result<u64> {
    let file = File::create(image)
        .with_context(|| format!("could not write the initramfs {}", image.display()))?;
    let mut cpio = Cpio::new(BufWriter::new(file));
    cpio.file("/init", 0o755, INIT.as_bytes())?;
    // As every Debian since 12 has it.
    for folder in ["bin", "sbin", "lib", "lib64"] {
        cpio.folder(&format!("/usr/{folder}"))?;
        cpio.link(&format!("/{folder}"), &format!("usr/{folder}"))?;
    }
    cpio.file("/usr/bin/busybox", 0o755, &read(&tools.busybox)?)?;
    for folder in FOLDERS {
        cpio.folder(folder)?;
    }
    cpio.file("/etc/passwd", 0o644, PASSWD.as_bytes())?;
    cpio.file("/etc/group", 0o644, GROUP.as_bytes())?;
    cpio.file("/etc/hosts", 0o644, b"127.0.0.1 localhost\n")?;
    let mut libraries = BTreeSet::new();
    for program in &suite.programs {
        cpio.file(&text(program)?, 0o755, &stripped(program)?)?;
        libraries.extend(shared_libraries(program)?);
    }
    for name in PROGRAMS.iter().chain(&suite.tools) {
        // What a name links to (dash, mawk) stands there under the name itself.
        let Some(program) = sh::which(name).and_then(|path| path.canonicalize().ok()) else {
            continue;
        };
        cpio.file(&format!("/usr/bin/{name}"), 0o755, &read(&program)?)?;
        libraries.extend(shared_libraries(&program)?);
    }
    for library in libraries {
        cpio.file(&text(&library)?, 0o755, &read(&library)?)?;
    }
    for data in &suite.data {
        add_tree(&mut cpio, data)?;
    }
    for (path, script) in &suite.scripts {
        cpio.file(path, 0o755, script.as_bytes())?;
    }
    let mut order = String::new();
    for (n, unit) in suite.units.iter().enumerate() {
        cpio.folder(&text(&unit.folder)?)?;
        cpio.file(&format!("/suite/{n}.sh"), 0o755, suite::script(unit).as_bytes())?;
        order.push_str(&format!("{n} {} {}\n", unit.user.name(), unit.timeout_s));
    }
    cpio.file("/suite/order", 0o644, order.as_bytes())?;
    cpio.finish().with_context(|| format!("could not write {}", image.display()))
}

fn add_tree<W: Write>(cpio: &mut Cpio<W>, folder: &Path) -> Result<()> {
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?
    {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            add_tree(cpio, &path)?;
        } else if entry.file_type()?.is_file() {
            let mode = entry.metadata()?.permissions().mode() & 0o777;
            cpio.file(&text(&path)?, mode, &read(&path)?)?;
        }
    }
    Ok(())
}

/// The program without its debug sections where `strip` is there (a fifth of the size), else as it is.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    if sh::which("strip").is_none() {
        return read(program);
    }
    let out = tempfile::NamedTempFile::new().context("could not make a temporary file")?;
    sh::capture(Command::new("strip").arg("--strip-debug").arg("-o").arg(out.path()).arg(program))?;
    read(out.path())
}

/// What the dynamic loader would map for it, the loader included.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let out = sh::output(Command::new("ldd").arg(program))?;
    let said = String::from_utf8_lossy(&out.stdout);
    let mut found = Vec::new();
    for line in said.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("{} needs a library that is missing: {line}", program.display());
        }
        let path = line.split(" => ").last().and_then(|rest| rest.split(" (").next());
        found.extend(path.filter(|path| path.starts_with('/')).map(PathBuf::from));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("could not read {}", path.display()))
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}
