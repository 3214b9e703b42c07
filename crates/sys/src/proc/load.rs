//! What a process uses: `/proc/PID/stat`, which everybody may read and which costs microseconds, and `/proc/PID/smaps_rollup`, which is
//! exact about shared memory and goes through all of its pages (proc(5)).

use std::fs;
use std::time::Duration;

/// What a process uses, as its `stat` line tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// It has ended and waits to be reaped: its time still counts, its memory is free.
    pub zombie: bool,
    /// Clock ticks since the machine's start: with its number it is unique.
    pub birth: u64,
    /// Processor time of all its threads, those that ended too; to a hundredth of a second.
    pub own: Duration,
    /// The same of its children that it has waited for, and of theirs.
    pub waited: Duration,
    /// Its threads.
    pub threads: u64,
    /// Resident memory in bytes; pages that it shares count in full.
    pub resident: u64,
}

/// What a process uses; `None`: it is gone.
#[must_use]
pub fn load(pid: u32) -> Option<Load> {
    parse(&super::stat_line(pid)?)
}

/// Its anonymous memory, shared memory and swap in bytes, pages shared by several processes counted in parts (Linux 5.4). Files that
/// are mapped don't count: the kernel can take them back. `None` where it is gone, or not ours to look into.
#[must_use]
pub fn memory(pid: u32) -> Option<u64> {
    parse_rollup(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

/// How many processors this machine has on. At least one.
#[must_use]
pub fn processors() -> u32 {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let count = |range: &str| -> Option<u32> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.saturating_sub(first) + 1)
    };
    online.trim().split(',').filter_map(count).sum::<u32>().max(1)
}

fn parse(line: &str) -> Option<Load> {
    // proc_pid_stat(5): the third field is the first behind the name's closing bracket, the last bracket there is.
    let fields: Vec<&str> = line.get(line.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = |field: usize| {
        // Clock ticks are hundredths of a second everywhere. Signed ones can be below zero only by a fault of the kernel's.
        let ticks: i64 = fields.get(field - 3)?.parse().ok()?;
        Some(Duration::from_millis(u64::try_from(ticks).unwrap_or(0).saturating_mul(10)))
    };
    Some(Load {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        own: ticks(14)?.saturating_add(ticks(15)?),
        waited: ticks(16)?.saturating_add(ticks(17)?),
        threads: number(20)?,
        birth: number(22)?,
        resident: number(24)?.saturating_mul(rustix::param::page_size() as u64),
    })
}

fn parse_rollup(text: &str) -> Option<u64> {
    let kib = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let pages = kib("Pss_Anon")?.saturating_add(kib("Pss_Shmem")?);
    Some(pages.saturating_add(kib("SwapPss").unwrap_or(0)).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_tells_what_is_used() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 9 8 7 6 150 50 20 -3 20 0 3 0 4711 9999 12 18446744073709551615";
        let page = rustix::param::page_size() as u64;
        let load = Load {
            zombie: false,
            birth: 4711,
            own: Duration::from_secs(2),
            waited: Duration::from_millis(200),
            threads: 3,
            resident: 12 * page,
        };
        assert_eq!(parse(line), Some(load));
        assert_eq!(parse("7 (a"), None);
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_what_can_not_be_taken_back() {
        let text = "0-1 ---p 0 0:0 0 [rollup]\nRss:  4120 kB\nPss_Anon:  600 kB\nPss_File:  193 kB\nPss_Shmem:  40 kB\nSwapPss:  2 kB\n";
        assert_eq!(parse_rollup(text), Some(642 * 1024));
        assert_eq!(parse_rollup("Rss: 1 kB\n"), None, "a kernel before 5.4");
    }

    #[test]
    fn this_process_uses_something() {
        let own = load(std::process::id()).unwrap();
        assert!(own.threads >= 1 && own.resident > 0 && !own.zombie);
        assert!(processors() >= 1);
        assert_eq!(load(0), None);
    }
}
