//! The log as a whole: written, tampered with, killed, on a full disk, and read back.
#![expect(clippy::unwrap_used, reason = "the whole program is a test")]

mod crash;
mod full;
mod life;
mod missing;
mod read;
mod tamper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ganger_audit::verify::{Check, Report, verify};
use ganger_audit::{
    Append, Arg, Denied, Ending, Intent, Limits, Log, Options, Outcome, Principal, Program, Record,
    RunId, Text, Usage,
};

/// A log's folder and its witness's, gone with the test.
struct Home {
    path: PathBuf,
    /// None where it is another process's.
    _dir: Option<tempfile::TempDir>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().to_owned(), _dir: Some(dir) }
    }

    fn folder(&self) -> PathBuf {
        self.path.join("audit")
    }

    fn witness(&self) -> PathBuf {
        self.path.join("witness")
    }

    /// Segments of a few records and checkpoints often, so that a short log has some of everything.
    fn options(&self) -> Options {
        let mut options = Options::new(self.folder());
        options.witness = Some(self.witness());
        options.segment_max = 7 << 10;
        options.checkpoint_records = 9;
        options
    }

    fn verify(&self) -> Report {
        verify(&self.folder(), &Check { key: None, witness: Some(self.witness()) }).unwrap()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A record like those of a busy day, different for each number.
fn record(n: u64) -> Append {
    let record = match n % 4 {
        0 => Record::Denied(Box::new(denied(n))),
        1 | 2 => Record::Intent(Box::new(intent(n))),
        _ => Record::Outcome(Box::new(outcome(n))),
    };
    let principal = Principal {
        name: format!("user{}", n % 3),
        uid: 1000 + u32::try_from(n % 3).unwrap(),
        gid: 1000,
        pid: 4000,
        exe: Some("/usr/bin/curl".into()),
        connection: Some(n / 10),
    };
    let mut run = [7; 16];
    run[..8].copy_from_slice(&n.to_be_bytes());
    Append { run: Some(RunId(run)), principal: Some(principal), record }
}

fn intent(n: u64) -> Intent {
    Intent {
        policy: "deploy".into(),
        rule: format!("deploy.{}", n % 5),
        policy_sha256: None,
        program: Program {
            path: "/usr/bin/git".into(),
            dev: 2049,
            ino: 70_000 + n,
            size: 3_000_000,
            ctime_ns: 1_790_000_000_000_000_000,
            sha256: None,
            interpreter: None,
        },
        argv: vec!["git".into(), "fetch".into(), Arg::from(format!("origin/{n}\n").as_str())],
        env: vec!["HOME".into(), "PATH".into()],
        cwd: "/srv/app".into(),
        profile: "strict".into(),
        layers: std::collections::BTreeMap::new(),
        limits: Limits { wall_ms: Some(60_000), memory: Some(256 << 20), ..Limits::default() },
        flags: Vec::new(),
    }
}

fn outcome(n: u64) -> Outcome {
    Outcome {
        policy: "deploy".into(),
        end: Ending::Exited { code: i32::try_from(n % 2).unwrap() },
        pid: Some(5000),
        usage: Usage {
            wall_us: 12_345 + n,
            user_us: 800,
            system_us: 400,
            memory_peak: 9 << 20,
            output: 120,
            ..Usage::default()
        },
        enforced: vec!["mount".into(), "seccomp".into()],
        degraded: Vec::new(),
        breach: None,
        output_cut: false,
        flags: Vec::new(),
    }
}

fn denied(n: u64) -> Denied {
    Denied {
        policy: "deploy".into(),
        rule: None,
        reason: "argument".into(),
        message: format!("--upload-pack is not an option of rule deploy.{n}"),
        program: Some(Text::from("/usr/bin/git")),
        argv: vec!["git".into(), "--upload-pack=sh".into()],
        at: Some(1),
        flags: Vec::new(),
        allow: Some("{ name = \"--upload-pack\" } in the options of this rule".into()),
        danger: None,
    }
}

/// Appends the records of these numbers, one after the other.
async fn fill(log: &Log, numbers: std::ops::Range<u64>) {
    for n in numbers {
        log.append(&record(n)).await.unwrap();
    }
}

/// All files of a folder, by name.
type Image = BTreeMap<String, Vec<u8>>;

fn image(folder: &Path) -> Image {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Makes the folder have these files and no others.
fn put(image: &Image, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if !image.contains_key(entry.file_name().to_str().unwrap()) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    for (name, bytes) in image {
        let path = folder.join(name);
        if std::fs::read(&path).ok().as_ref() != Some(bytes) {
            // A file that is cut and written again is synced by some file systems when it is closed; a new one is not.
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, bytes).unwrap();
        }
    }
    if image.contains_key("audit.key") {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.join("audit.key"), mode).unwrap();
    }
}

/// Names of the segments, in order.
fn segments(image: &Image) -> Vec<String> {
    image.keys().filter(|name| name.ends_with(".jsonl")).cloned().collect()
}
