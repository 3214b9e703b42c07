//! The files of each controller: limits in, counters out, for both versions.

use std::fs;
use std::io;
use std::path::Path;

use super::hierarchy::Controller;
use crate::Limits;

/// Length of a CPU period in microseconds: the kernel's default.
const PERIOD_US: f64 = 100_000.0;
/// The kernel refuses quotas under 1 ms.
const MIN_QUOTA_US: f64 = 1000.0;

/// Which version's files a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// Writes one controller's limit; "none" resets what an earlier process of the instance had.
pub(super) fn set(
    version: Version,
    controller: Controller,
    folder: &Path,
    limits: &Limits,
) -> io::Result<()> {
    let put = |file: &str, value: String| {
        fs::write(folder.join(file), value).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", folder.join(file).display()))
        })
    };
    let or = |value: Option<u64>, none: &str| value.map_or(none.to_owned(), |n| n.to_string());
    let quota = limits.cpu.map(|cores| (cores * PERIOD_US).max(MIN_QUOTA_US).round());
    match (version, controller) {
        (Version::V1, Controller::Memory) => {
            // The sum with swap must never lie below the memory limit: lift it first. Absent without swap accounting.
            let _ = put("memory.memsw.limit_in_bytes", "-1".into());
            put("memory.limit_in_bytes", or(limits.memory, "-1"))?;
            let _ = put("memory.memsw.limit_in_bytes", or(limits.memory, "-1"));
            Ok(())
        }
        (Version::V1, Controller::Cpu) => {
            put("cpu.cfs_period_us", format!("{PERIOD_US:.0}"))?;
            put("cpu.cfs_quota_us", quota.map_or("-1".into(), |q| format!("{q:.0}")))
        }
        (Version::V2, Controller::Memory) => {
            put("memory.max", or(limits.memory, "max"))?;
            // Without swap accounting there is no such file; a limit that swaps is no limit.
            let swap = if limits.memory.is_some() { "0" } else { "max" };
            let _ = put("memory.swap.max", swap.into());
            put("memory.oom.group", "1".into())
        }
        (Version::V2, Controller::Cpu) => {
            let quota = quota.map_or("max".into(), |q| format!("{q:.0}"));
            put("cpu.max", format!("{quota} {PERIOD_US:.0}"))
        }
        (_, Controller::Pids) => put("pids.max", or(limits.pids, "max")),
    }
}

/// Processes of the folder that the out-of-memory killer has ended since the folder was made.
pub(super) fn oom_kills(version: Version, folder: &Path) -> u64 {
    let file = match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    field(&folder.join(file), "oom_kill")
}

/// Forks refused by the limit since the folder was made.
pub(super) fn pids_refused(folder: &Path) -> u64 {
    field(&folder.join("pids.events"), "max")
}

/// Highest memory use in bytes since [`reset_peak`], where the kernel tells (v2: from 5.19).
pub(super) fn peak(version: Version, folder: &Path) -> Option<u64> {
    let file = match version {
        Version::V1 => "memory.max_usage_in_bytes",
        Version::V2 => "memory.peak",
    };
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// Starts the peak anew where the kernel lets us (always on v1; on v2 only per open file, so the folder's stays).
pub(super) fn reset_peak(version: Version, folder: &Path) {
    if version == Version::V1 {
        // Frees cache that an earlier process of the instance left charged; both are best effort by nature.
        let _ = fs::write(folder.join("memory.force_empty"), "0");
        let _ = fs::write(folder.join("memory.max_usage_in_bytes"), "0");
    }
}

/// CPU time in microseconds since the folder was made. v2 counts in every folder, with the controller or without; v1 where `cpuacct`
/// is mounted together with `cpu`.
pub(super) fn cpu_used(version: Version, folder: &Path) -> Option<u64> {
    match version {
        Version::V1 => {
            let nanos = fs::read_to_string(folder.join("cpuacct.usage")).ok()?;
            Some(nanos.trim().parse::<u64>().ok()? / 1_000)
        }
        Version::V2 => {
            let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok())
        }
    }
}

fn field(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
