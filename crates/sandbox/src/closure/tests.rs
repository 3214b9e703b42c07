use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Closure, ClosureError, cache};

/// What the loader itself says that it would map.
fn ldd(program: &Path) -> Option<BTreeSet<String>> {
    let out = Command::new("ldd").arg(program).output().ok().filter(|out| out.status.success())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let paths =
        text.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    Some(paths.map(str::to_owned).collect())
}

#[test]
fn as_the_loader_says() {
    let mut seen = 0;
    for program in ["/bin/sh", "/bin/ls", "/usr/bin/perl", "/usr/bin/git", "/usr/bin/gdb"] {
        let program = Path::new(program);
        let (Ok(closure), Some(said)) = (Closure::of(program), ldd(program)) else { continue };
        let found: BTreeSet<String> = closure
            .libraries
            .iter()
            .chain(&closure.loader)
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(found, said, "{}", program.display());
        assert_eq!(closure.missing, []);
        seen += 1;
    }
    if seen == 0 {
        println!("skipped: no ldd here");
    }
}

fn script(folder: &Path, name: &str, first_line: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("{first_line}\nexit 0\n")).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    path
}

#[test]
fn a_script_brings_its_interpreter() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = script(folder.path(), "inner", "#! /bin/sh -e");
    let outer = script(folder.path(), "outer", &format!("#!{}", inner.display()));
    let closure = Closure::of(&outer).expect("a closure");
    assert_eq!(closure.programs, [outer, inner, PathBuf::from("/bin/sh")]);
    assert_eq!(closure.libraries, Closure::of(Path::new("/bin/sh")).expect("sh").libraries);
}

#[test]
fn what_is_no_program_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = script(folder.path(), "text", "hello");
    let why = Closure::of(&text).expect_err("text").to_string();
    assert!(why.ends_with("it is no 64-bit ELF file"), "{why}");
    let empty = script(folder.path(), "empty", "#!  ");
    assert!(matches!(Closure::of(&empty), Err(ClosureError::NoProgram { .. })));
    let own = script(folder.path(), "own", &format!("#!{}/own", folder.path().display()));
    assert!(matches!(Closure::of(&own), Err(ClosureError::Scripts { .. })));
    let gone = Closure::of(&folder.path().join("gone")).expect_err("gone").to_string();
    assert!(gone.contains("could not read"), "{gone}");
}

proptest::proptest! {
    /// Broken caches and programs are answered, whatever is in them.
    #[test]
    fn garbage_is_survived(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), elf in proptest::bool::ANY) {
        let magic: &[u8] = if elf { b"\x7fELF\x02\x01\x01" } else { b"glibc-ld.so.cache1.1" };
        bytes.splice(0..bytes.len().min(magic.len()), magic.iter().copied());
        cache::parse(&bytes);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        std::fs::write(&path, &bytes).expect("write");
        let _ = Closure::of(&path);
    }
}

#[test]
fn a_program_that_changed_is_read_again() {
    let folder = tempfile::tempdir().expect("folder");
    let path = script(folder.path(), "a", "#!/bin/sh");
    let first = Closure::known(&path).expect("closure");
    assert_eq!(first, Closure::of(&path).expect("closure"));
    assert_eq!(first, Closure::known(&path).expect("closure"));
    let other = script(folder.path(), "b", "#!/bin/cat");
    std::fs::rename(&other, &path).expect("rename");
    let second = Closure::known(&path).expect("closure");
    assert_eq!(second.programs[1], Path::new("/bin/cat"));
}
