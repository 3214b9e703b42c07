//! `/tmp/perf-PID.map`: what a runtime says of the code it compiled, a line each: `start length name`, numbers in hex.
//!
//! Node writes it with `--perf-basic-prof`, CPython from 3.12 on with `-X perf`. The folder is anybody's to write to, so a file
//! counts only when it is a plain one and its owner is the process's user, and is looked for in the process's own mount
//! namespace under the number it has for itself.

use std::collections::BTreeMap;
use std::io::Read;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::target::Process;

/// A runtime that has written more has compiled the same over and over.
const MOST_BYTES: u64 = 64 << 20;
/// Longer names are cut.
const LONGEST_NAME: usize = 512;

/// Names by address.
#[derive(Debug, Default)]
pub(crate) struct PerfMap(BTreeMap<u64, (u64, String)>);

impl PerfMap {
    /// The map of a process, empty where there is none that may be believed.
    pub(crate) fn of(process: &Process) -> Self {
        let Some(root) = &process.root else { return Self::default() };
        let path = format!("tmp/perf-{}.map", process.inner);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        let Ok(file) = file else { return Self::default() };
        let owned = fstat(&file).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && Some(stat.st_uid) == process.uid
        });
        let mut text = Vec::new();
        if owned {
            // What was read before an error is as good as it was.
            let _read = std::fs::File::from(file).take(MOST_BYTES).read_to_end(&mut text);
        }
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Self {
        let mut map = BTreeMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let mut words = line.splitn(3, ' ');
            let number =
                |word: Option<&str>| u64::from_str_radix(word?.trim_start_matches("0x"), 16).ok();
            let (start, length) = (number(words.next()), number(words.next()));
            if let (Some(start), Some(length), Some(name)) = (start, length, words.next()) {
                // Code that was moved or compiled again: the later line is the true one.
                map.insert(start, (length, name.chars().take(LONGEST_NAME).collect()));
            }
        }
        Self(map)
    }

    /// The name of what stands at `address`.
    pub(crate) fn find(&self, address: u64) -> Option<&str> {
        let (start, (length, name)) = self.0.range(..=address).next_back()?;
        (address - start < *length).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_by_address() {
        let text =
            b"3ef414c0 398 JS:*hot /a b.js:3:1\nnonsense\n3ef414c0 10 JS:*later\n0x5000 8 py::f\n";
        let map = PerfMap::parse(text);
        assert_eq!(map.find(0x3ef4_14cf), Some("JS:*later"));
        assert_eq!(map.find(0x3ef4_14d0), None);
        assert_eq!(map.find(0x5007), Some("py::f"));
    }

    #[test]
    fn only_the_users_own_plain_file_is_believed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("tmp")).unwrap();
        let file = root.path().join("tmp/perf-7.map");
        let uid = rustix::process::getuid().as_raw();
        let process = |uid| Process {
            inner: 7,
            uid: Some(uid),
            root: Some(std::fs::File::open(root.path()).unwrap().into()),
            ..Process::default()
        };
        assert_eq!(PerfMap::of(&process(uid)).find(0x10), None, "no file");
        std::fs::write(&file, "10 8 f\n").unwrap();
        assert_eq!(PerfMap::of(&process(uid)).find(0x10), Some("f"));
        assert_eq!(PerfMap::of(&process(uid + 1)).find(0x10), None, "somebody else's");
        std::fs::rename(&file, root.path().join("tmp/other")).unwrap();
        symlink("other", &file).unwrap();
        assert_eq!(PerfMap::of(&process(uid)).find(0x10), None, "a link");
    }
}
