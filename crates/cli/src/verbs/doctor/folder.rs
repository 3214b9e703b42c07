//! What the state folder and its disk give.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ganger_api::SOCKET_NAME;
use ganger_api::client::lock_is_held;

use super::Check;
use crate::link::session_at;
use crate::place::Place;
use crate::text;

/// Room for the log caps of a service or two and the database.
const LITTLE_ROOM: u64 = 512 << 20;
/// Below this the disk can't make the store's write-ahead log grow.
const NO_ROOM: u64 = 16 << 20;
/// Slower commits than this are felt by everybody who pushes to an `fsync` queue.
const SLOW_SYNC: Duration = Duration::from_millis(20);
/// Tries of fdatasync; their median is told.
const SYNCS: usize = 9;
/// A daemon answers within milliseconds; one that hangs is for `status` to tell of.
const ANSWER: Duration = Duration::from_secs(2);

pub(super) fn checks(place: &Place) -> Vec<Check> {
    let dir = &place.state_dir;
    // A folder that is not there yet is made in the nearest one that is.
    let nearest = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let mut checks = vec![exists(dir, nearest), room(nearest)];
    checks.extend(writable_and_sync(nearest));
    if dir.exists() {
        checks.push(private(dir));
        checks.push(socket(dir));
        checks.push(leftovers(place));
    }
    checks
}

fn exists(dir: &Path, nearest: &Path) -> Check {
    let name = dir.display();
    if dir == nearest {
        Check::ok("state folder", format!("{name}"))
    } else {
        Check::info("state folder", format!("{name} does not exist yet"))
    }
}

fn room(nearest: &Path) -> Check {
    let free = match rustix::fs::statvfs(nearest) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            let finding = format!("statvfs {}: {error}", nearest.display());
            return Check::warn("free space", finding, "look at the disk with df");
        }
    };
    let finding = format!("{} at {}", text::bytes(free), nearest.display());
    let fix = "make room, or choose another folder with --state-dir";
    match free {
        0..NO_ROOM => Check::fail("free space", finding, fix),
        NO_ROOM..LITTLE_ROOM => Check::warn("free space", finding, fix),
        _ => Check::ok("free space", finding),
    }
}

fn writable_and_sync(nearest: &Path) -> Vec<Check> {
    match sync_times(nearest) {
        Ok(times) => {
            let median = times[times.len() / 2];
            let finding = format!("fdatasync takes {:.2} ms", median.as_secs_f64() * 1e3);
            let sync = if median > SLOW_SYNC {
                Check::warn(
                    "disk",
                    finding,
                    "use a faster disk, or durability = \"relaxed\" on queues that may",
                )
            } else {
                Check::ok("disk", finding)
            };
            vec![Check::ok("writable", nearest.display().to_string()), sync]
        }
        Err(error) => vec![Check::fail(
            "writable",
            format!("{}: {error}", nearest.display()),
            "make it writable for this user, or choose another with --state-dir",
        )],
    }
}

/// Sorted times of small synced writes in a file of its own, which is removed again.
fn sync_times(folder: &Path) -> io::Result<Vec<Duration>> {
    let probe = Probe(folder.join(format!(".ganger-doctor-{}", std::process::id())));
    let mut file = File::create_new(&probe.0)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// A file that goes when this does.
struct Probe(PathBuf);

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn private(dir: &Path) -> Check {
    match std::fs::metadata(dir) {
        Ok(meta) if meta.permissions().mode() & 0o077 == 0 => {
            Check::ok("private", "only its owner can enter")
        }
        Ok(meta) => Check::warn(
            "private",
            format!("mode {:o}: others can enter", meta.permissions().mode() & 0o777),
            format!("chmod 700 {}", dir.display()),
        ),
        Err(error) => Check::warn("private", error.to_string(), "look at its owner and mode"),
    }
}

fn socket(dir: &Path) -> Check {
    match (dir.join(SOCKET_NAME).exists(), lock_is_held(dir)) {
        (true, true) => Check::ok("daemon", "runs"),
        (false, true) => Check::fail(
            "daemon",
            "the lock is held, but the socket is gone",
            "`kill` the keeper named in `ps`, then `ganger up`",
        ),
        (true, false) => Check::info("daemon", "does not run (a stale socket is replaced by `up`)"),
        (false, false) => Check::info("daemon", "does not run"),
    }
}

/// Processes with this folder's marker though no keeper lives: the next `up` ends them. Of those that it could not end, the
/// daemon knows.
fn leftovers(place: &Place) -> Check {
    let dir = &place.state_dir;
    if lock_is_held(dir) {
        let asked = session_at(place, async |client| {
            let status = tokio::time::timeout(ANSWER, client.status()).await;
            Ok(status.ok().and_then(Result::ok).map(|status| status.degraded).unwrap_or_default())
        });
        let told = asked.unwrap_or_default();
        let (tasks, processes) = (ganger_api::STUCK_TASKS, ganger_keeper::wire::LEFTOVERS);
        let starts = |one: &ganger_api::Degraded| one.what.starts_with(tasks);
        let left = told.iter().find(|one| starts(one));
        let left = left.or_else(|| told.iter().find(|one| one.what == processes)).cloned();
        return match left {
            Some(one) => Check::warn("leftovers", format!("{}: {}", one.what, one.why), one.fix),
            None => Check::ok("leftovers", "none: a keeper holds what runs"),
        };
    }
    let Ok(id) = std::fs::read_to_string(dir.join("state-id")) else {
        return Check::ok("leftovers", "none: nothing ran here yet");
    };
    let mark = format!("{}={}:", ganger_keeper::wire::SPAWN_MARK_ENV, id.trim());
    let pids = marked(mark.as_bytes());
    if pids.is_empty() {
        return Check::ok("leftovers", "none");
    }
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    Check::warn(
        "leftovers",
        format!("{} of a killed keeper: {list}", text::count(pids.len(), "process")),
        "`ganger up` ends them before it starts anything",
    )
}

/// Processes of this user whose environment has a variable that begins so.
fn marked(mark: &[u8]) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one.starts_with(mark)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::Verdict;

    fn verdict(checks: &[Check], name: &str) -> Verdict {
        checks.iter().find(|check| check.name == name).unwrap().verdict
    }

    #[test]
    fn a_fresh_folder() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { config: None, state_dir: dir.path().join("a/.ganger") };
        let checks = checks(&place);
        assert_eq!(verdict(&checks, "state folder"), Verdict::Info);
        assert_eq!(verdict(&checks, "writable"), Verdict::Ok);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the probe is removed");
    }

    #[test]
    fn an_open_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let place = Place { config: None, state_dir: dir.path().to_owned() };
        assert_eq!(verdict(&checks(&place), "private"), Verdict::Warn);
    }
}
