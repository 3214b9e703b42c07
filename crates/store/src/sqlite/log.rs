//! The write-ahead log's size, its bound, and who holds it.
//!
//! SQLite's log can only begin anew when no reader needs what stands in it, so one reader that holds a snapshot (a backup,
//! a forgotten `sqlite3` shell) makes it grow with every commit. Ours are bounded; others are named.
//!
//! ```text
//! < told        nothing to say
//! ≥ told        a warning with the holder's pid, `status` says degraded; everything goes on
//! ≥ max         pushes are refused (StoreError::LogFull); claims, outcomes and all else go on
//! reader ends   the next checkpoint brings the log home; it begins anew and its file is cut to 64 MiB
//! ```

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of a page; SQLite's default, which the schema keeps.
pub(super) const PAGE_BYTES: u32 = 4096;
/// The bytes of the `-shm` file that readers lock while their snapshot stands in the log (wal.c, WAL_READ_LOCK(1..4)).
const READ_MARKS: std::ops::RangeInclusive<u64> = 124..=127;

/// Processes that hold a snapshot in the log of this database, as `pid 711 (sqlite3)`; empty when the kernel does not
/// tell. `/proc/locks` names the owner of a POSIX lock (proc(5)), and SQLite's read marks are such locks.
pub(super) fn holders(db: &Path) -> String {
    let mut shm = db.as_os_str().to_owned();
    shm.push("-shm");
    let Ok(meta) = std::fs::metadata(shm) else { return String::new() };
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else { return String::new() };
    let mut pids: Vec<u32> = locks.lines().filter_map(|line| holder(line, meta.ino())).collect();
    pids.sort_unstable();
    pids.dedup();
    let named = pids.iter().map(|pid| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if *pid == std::process::id() {
            format!("pid {pid} (this daemon)")
        } else {
            format!("pid {pid} ({})", comm.trim())
        }
    });
    named.collect::<Vec<_>>().join(", ")
}

/// The process of a line like `1: POSIX  ADVISORY  READ 711 08:01:131080 124 124`, when it is a read mark of this file.
fn holder(line: &str, inode: u64) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "POSIX", _, "READ", pid, file, from, to] = words[..] else { return None };
    let (_, of) = file.rsplit_once(':')?;
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
    let marked = from <= *READ_MARKS.end() && to >= *READ_MARKS.start();
    (of.parse() == Ok(inode) && marked).then(|| pid.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_locks() {
        let mark = "7: POSIX  ADVISORY  READ  711 08:01:131080 124 124";
        assert_eq!(holder(mark, 131_080), Some(711));
        assert_eq!(holder(mark, 131_081), None);
        for other in [
            "7: POSIX  ADVISORY  WRITE 711 08:01:131080 120 120",
            "7: POSIX  ADVISORY  READ  711 08:01:131080 128 128",
            "7: FLOCK  ADVISORY  WRITE 711 08:01:131080 0 EOF",
            "7: -> POSIX  ADVISORY  READ  711 08:01:131080 124 124",
            "",
        ] {
            assert_eq!(holder(other, 131_080), None, "{other}");
        }
    }
}
