//! Writer of the `newc` cpio format, the one an initramfs is made of (Documentation/driver-api/early-userspace/
//! buffer-format.rst). Folders on the way to a file are made once, by the writer itself.

use std::collections::BTreeSet;
use std::io::{self, Write};

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// Appends members to `out`. `finish` must be called, or the kernel refuses the archive.
#[derive(Debug)]
pub(crate) struct Cpio<W> {
    out: W,
    seen: BTreeSet<String>,
    inode: u32,
    written: u64,
}

impl<W: Write> Cpio<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, seen: BTreeSet::new(), inode: 1, written: 0 }
    }

    /// A regular file. A path that is there already is left as it is.
    pub(crate) fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.member(path, FILE | mode, data)
    }

    /// A folder, 0755.
    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.member(path, FOLDER | 0o755, &[])
    }

    /// A symbolic link that points at `target`.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.member(path, LINK | 0o777, target.as_bytes())
    }

    /// Ends the archive and returns its size in bytes.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.header("TRAILER!!!", 0, 0)?;
        self.out.flush()?;
        Ok(self.written)
    }

    fn member(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || self.seen.contains(path) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        self.seen.insert(path.to_owned());
        self.header(path, mode, data.len())?;
        self.put(data)?;
        self.pad()
    }

    fn header(&mut self, path: &str, mode: u32, size: usize) -> io::Result<()> {
        let size = u32::try_from(size).map_err(|_| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is over 4 GiB"))
        })?;
        self.inode += 1;
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        // inode mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
        let fields = [
            self.inode,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            0,
            0,
            u32::try_from(path.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08x}").as_bytes())?;
        }
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.pad()
    }

    fn pad(&mut self) -> io::Result<()> {
        let over = usize::try_from(self.written % 4).unwrap_or(0);
        if over == 0 { Ok(()) } else { self.put(&[0u8; 4][over..]) }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_aligned_and_parents_come_first() {
        let mut out = Vec::new();
        let mut cpio = Cpio::new(&mut out);
        cpio.file("/a/b/c", 0o755, b"12345").unwrap();
        cpio.file("/a/b/d", 0o644, b"").unwrap();
        cpio.file("/a/b/c", 0o755, b"again").unwrap();
        assert_eq!(cpio.finish().unwrap(), out.len() as u64);
        let text = String::from_utf8_lossy(&out);
        let heads: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(heads.len(), 5, "a, a/b, a/b/c, a/b/d, the trailer");
        assert!(heads.iter().all(|at| at % 4 == 0), "{heads:?}");
        let names: Vec<&str> =
            heads.iter().map(|at| text[at + 110..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "TRAILER!!!"]);
        assert_eq!(text.matches("12345").count(), 1);
    }
}
