//! Figures of the log beside the machine's own: `cargo run --release -p ganger-audit --example bench [FOLDER]`.
//!
//! The folder decides which disk is measured; default: the working folder.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use ganger_audit::verify::{Check, verify};
use ganger_audit::{
    Append, Filter, Intent, Limits, Log, Options, Principal, Program, Reader, Record, RunId,
};
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Appenders at once, as the goal says.
const APPENDERS: u64 = 64;
/// Records of a run: one to three seconds.
const RECORDS: u64 = 60_000;
/// Each figure is the median of so many runs.
const ROUNDS: usize = 3;

fn main() -> Outcome<()> {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let scratch = Path::new(&folder).join(format!("audit-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let done = figures(&scratch);
    std::fs::remove_dir_all(&scratch)?;
    done
}

fn figures(scratch: &Path) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rows: [Vec<f64>; 7] = Default::default();
    for round in 0..ROUNDS {
        let home = scratch.join(round.to_string());
        let mut options = Options::new(home.join("audit"));
        options.witness = Some(home.join("witness"));
        rows[0].push(syncs(scratch)?);
        let log = Log::open(options.clone())?;
        rows[1].push(runtime.block_on(many(&log, 1, 2_000))?);
        let before = log.stats();
        rows[2].push(runtime.block_on(many(&log, APPENDERS, RECORDS))?);
        let groups = log.stats().groups - before.groups;
        rows[3].push(RECORDS as f64 / groups as f64);
        runtime.block_on(log.close())?;
        let report = verify(&options.folder, &Check::default())?;
        if let Some(finding) = report.finding {
            return Err(finding.to_string().into());
        }
        rows[4].push(report.records as f64 / report.took.as_secs_f64());
        rows[5].push(search(&options.folder)?);
        rows[6].push(hashes(report.bytes / report.records));
    }
    let names = [
        "fdatasync of 700 bytes (the disk)",
        "append, one at a time",
        "append, 64 at a time",
        "  records a commit",
        "verify, with witness",
        "search (reads every record)",
        "SHA-256 of a record (one core)",
    ];
    for (name, row) in names.iter().zip(&mut rows) {
        row.sort_by(f64::total_cmp);
        println!("{name:<36} {:>12.0} /s", row[row.len() / 2]);
    }
    Ok(())
}

fn syncs(folder: &Path) -> Outcome<f64> {
    let path = folder.join("sync");
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path)?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        file.write_all(&[b'x'; 700])?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

async fn many(log: &Log, appenders: u64, records: u64) -> Outcome<f64> {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..appenders)
        .map(|appender| {
            let log = log.clone();
            tokio::spawn(async move {
                for n in 0..records / appenders {
                    log.append(&record(appender, n)).await?;
                }
                Ok::<(), ganger_audit::AuditError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(records as f64 / begun.elapsed().as_secs_f64())
}

fn search(folder: &Path) -> Outcome<f64> {
    let begun = Instant::now();
    let mut read = 0u32;
    Reader::open(folder)?.search(&Filter::default(), |found| {
        read += u32::from(found.is_ok());
        true
    })?;
    Ok(f64::from(read) / begun.elapsed().as_secs_f64())
}

fn hashes(bytes: u64) -> f64 {
    let line = vec![b'x'; usize::try_from(bytes).unwrap_or(700)];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(200) {
        std::hint::black_box(Sha256::digest(std::hint::black_box(&line)));
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// The intent of a usual command: four arguments, eight variables.
fn record(appender: u64, n: u64) -> Append {
    let mut run = [0; 16];
    run[..8].copy_from_slice(&appender.to_be_bytes());
    run[8..].copy_from_slice(&n.to_be_bytes());
    let names = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TZ", "USER"];
    let intent = Intent {
        policy: "deploy".into(),
        rule: "deploy.fetch".into(),
        policy_sha256: None,
        program: Program {
            path: "/usr/bin/git".into(),
            dev: 2049,
            ino: 70_000,
            size: 3_000_000,
            ctime_ns: 1_790_000_000_000_000_000,
            sha256: None,
            interpreter: None,
        },
        argv: vec!["git".into(), "fetch".into(), "--depth=1".into(), "origin".into()],
        env: names.iter().map(|name| (*name).into()).collect(),
        cwd: "/srv/app".into(),
        profile: "strict".into(),
        layers: std::collections::BTreeMap::new(),
        limits: Limits { wall_ms: Some(60_000), memory: Some(256 << 20), ..Limits::default() },
        flags: Vec::new(),
    };
    let name = "deploy".to_owned();
    let exe = Some("/usr/bin/ci-agent".into());
    let principal = Principal { name, uid: 1000, gid: 1000, pid: 4000, exe, connection: Some(1) };
    Append {
        run: Some(RunId(run)),
        principal: Some(principal),
        record: Record::Intent(Box::new(intent)),
    }
}
