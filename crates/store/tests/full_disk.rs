//! A file system that is really full, and one that is really read-only. Needs root for its own small tmpfs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ganger_core::{Priority, TaskId, TaskState};
use ganger_store::{
    Batch, Bytes, Enqueue, Op, OpenError, Push, SqliteOptions, SqliteStore, Store, StoreError,
    StoreRead,
};

/// A tmpfs of 3 MiB that goes away with it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(at);
        let root = rustix::process::geteuid().is_root();
        let mounted = root && mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    fn read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(status.is_ok_and(|s| s.success()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        assert!(status.is_ok_and(|s| s.success()), "{} stays mounted", self.0.display());
    }
}

fn push(from: i64, n: i64) -> Batch {
    let queue: Arc<str> = "q".into();
    let tasks = (from..from + n).map(|n| Enqueue {
        id: TaskId::from_raw(n).expect("counted from 0"),
        kind: None,
        priority: Priority::NORMAL,
        run_at_ms: 0,
        payload: Bytes::from(vec![b'x'; 500]),
        options: None,
        claim: None,
    });
    Batch::synced(vec![Op::Push(Push {
        req: 0,
        queue,
        key: None,
        fire: None,
        tasks: tasks.collect(),
    })])
}

#[test]
fn full_then_free_then_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        eprintln!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let options = SqliteOptions::new(dir.path().join("state.db"));
    let ballast = dir.path().join("ballast");
    let mut store = SqliteStore::open(options.clone()).unwrap();
    std::fs::write(&ballast, vec![0; 1_500_000]).unwrap();
    let mut stored = 0;
    let error = loop {
        match store.commit(&[push(stored, 100)]) {
            Ok(_) => stored += 100,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(stored > 0);
    let available = |store: &SqliteStore| {
        let mut reader = store.reader().unwrap();
        reader.queue("q").unwrap().unwrap().counts.get(TaskState::Available)
    };
    assert_eq!(available(&store), stored.unsigned_abs());
    std::fs::remove_file(&ballast).unwrap();
    store.commit(&[push(stored, 100)]).unwrap();
    assert_eq!(available(&store), stored.unsigned_abs() + 100);
    drop(store);
    disk.read_only();
    let error = SqliteStore::open(options).unwrap_err();
    let read_only = matches!(error, OpenError::Failed { source: StoreError::ReadOnly(_), .. });
    assert!(read_only, "{error}");
    assert!(error.to_string().contains("state.db"), "{error}");
}
