//! A disk that is really full: pushes are refused with a code, what runs ends, and all goes on without a restart once there
//! is room. Needs root for its own small tmpfs.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Command;

use ganger_testkit::TempDaemon;

use crate::{folder, pipe, pushed};

const CONFIG: &str = r#"
version = 1
[queue.q]
[pool.q]
queues = ["q"]
protocol = "command"
stop_timeout = "1s"
command = ["sh", "-c", "cat > /dev/null; cat gate > /dev/null; echo 1"]
"#;

/// A folder on a tmpfs of 12 MiB. The daemon goes first.
struct Small {
    it: TempDaemon,
    _disk: Disk,
}

struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(&at);
        let root = rustix::process::geteuid().is_root();
        let mounted = root && mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that was killed may hold its folder for a moment longer.
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(status.is_ok_and(|s| s.success()), "{} stays mounted", self.0.display());
        // It could not go while it was mounted on.
        drop(std::fs::remove_dir(&self.0));
    }
}

#[test]
fn full_then_free() {
    let it = folder();
    let Some(disk) = Disk::mount(it.path().to_owned()) else {
        eprintln!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let small = Small { it, _disk: disk };
    let it = &small.it;
    it.write("ganger.toml", CONFIG);
    let gate = pipe(it, "gate");
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let id = &*pushed(it, &["q", "1"]);
    let open = OpenOptions::new().write(true).open(&gate).expect("a worker reads it");
    let ballast = it.path().join("ballast");
    // It takes all there is, and fails at the end of it.
    drop(std::fs::write(&ballast, vec![0; 16 << 20]));
    let payload = format!("\"{}\"", "x".repeat(90_000));
    // The log has a little room left from before.
    let said =
        (0..100).map(|_| it.ganger(&["push", "q", &payload])).find(|said| said.code != Some(0));
    let said = said.expect("a full disk takes a hundred large tasks").with_code(10);
    assert!(said.err.contains("disk is full") && said.err.contains("try again"), "{}", said.err);
    drop(open);
    let _ = std::fs::remove_file(&ballast);
    let _ = it.ganger(&["task", "wait", id, "--timeout", "20s"]).with_code(0);
    // The end is stored, so the next push may try: the same daemon, never restarted.
    let _ = it.ganger(&["push", "q", "2"]).with_code(0);
}
