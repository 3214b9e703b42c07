//! Which place ends the process, and the end.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::{Signal, getpid, getppid, kill_process};

use super::{disk, vfs};

/// What this process was told to crash at.
#[derive(Debug)]
struct Armed {
    name: String,
    left: AtomicU64,
    /// Where it is told that it happened.
    told: PathBuf,
}

static ARMED: OnceLock<Armed> = OnceLock::new();
/// True where the end of the daemon stands for a power cut.
static POWER: AtomicBool = AtomicBool::new(false);

/// Reads what the state folder asks for. To be called before the store is opened, once in a process.
///
/// # Errors
/// A file that can't be read or restored, a crash file that is not `NAME N`, or SQLite refusing the file system.
pub fn arm(state_dir: &Path) -> io::Result<()> {
    let crash = state_dir.join("torture-crash");
    match std::fs::read_to_string(&crash) {
        Ok(text) => {
            std::fs::remove_file(&crash)?;
            let (name, n) = text.trim().split_once(' ').ok_or_else(|| strange(&text))?;
            let left = AtomicU64::new(n.parse().map_err(|_| strange(&text))?);
            let told = state_dir.join("torture-crashed");
            let _ = ARMED.set(Armed { name: name.to_owned(), left, told });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let unsynced = state_dir.join("torture-unsynced").exists();
    POWER.store(unsynced, Ordering::Relaxed);
    if unsynced {
        disk::power_up(state_dir)?;
    }
    vfs::register(unsynced)
}

fn strange(text: &str) -> io::Error {
    io::Error::other(format!("torture-crash says {text:?}, not NAME N"))
}

/// Ends the process by SIGKILL if this is where it was told to end.
pub fn reach(name: &'static str) {
    let Some(armed) = ARMED.get() else { return };
    if armed.name == name && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        tell(armed);
        // SIGKILL and not abort: nothing may run any more, and the keeper sees what it sees when anybody kills a daemon.
        // The keeper is the parent. In a power cut it starts nothing any more.
        if let Some(keeper) = getppid().filter(|_| POWER.load(Ordering::Relaxed)) {
            let _ = kill_process(keeper, Signal::KILL);
        }
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Appends `NAME NS`, CLOCK_MONOTONIC: who watches from outside may see the daemon only after the next one has taken over.
fn tell(armed: &Armed) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let line = format!("{} {}{:09}\n", armed.name, now.tv_sec, now.tv_nsec);
    let file = OpenOptions::new().append(true).create(true).open(&armed.told);
    // A disk that is full keeps nobody alive here.
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}
