//! Many runs through a daemon, and what is there before and after: processes and zombies below the keeper, the namespaces they are in,
//! cgroups, descriptors and memory of ganger's own processes; of the whole machine for comparison.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::{new_table, right_align};
use crate::build;
use crate::ganger::{Ganger, Status};
use crate::torture::http::Http;
use crate::torture::procs;

const CLIENTS: usize = 4;
/// Before what is there is counted first: what is made once is made by then, also the 256 cgroups that a keeper keeps for the next.
const WARM: u32 = 400;
/// After this the keeper has let go of networks that nobody uses.
const NETWORKS: Duration = Duration::from_secs(12);
/// What ends by itself has ended by then, these too.
const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str = r#"
version = 1
[policy.true]
program = "/usr/bin/true"
sandbox = "strict"
"#;

/// What is there at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct There {
    /// Of the keeper's tree.
    processes: usize,
    zombies: usize,
    namespaces: usize,
    /// Of this keeper, in all hierarchies.
    cgroups: usize,
    /// Of keeper, daemon and logger.
    descriptors: usize,
}

/// Goes on until so many are done.
pub(super) fn runs(count: u32) -> Result<()> {
    let binary = build::ganger(true)?;
    // The log's disk is not what is looked at.
    let base = Path::new("/dev/shm");
    let folder = tempfile::Builder::new().prefix("walls-").tempdir_in(base)?;
    fs::write(folder.path().join("ganger.toml"), CONFIG)?;
    let ganger = Ganger::new(binary, folder.path().to_path_buf());
    ganger.up()?;
    let result = told(&ganger, count);
    ganger.down()?;
    result
}

fn told(ganger: &Ganger, count: u32) -> Result<()> {
    let status = ganger.status()?;
    many(&status, WARM)?;
    std::thread::sleep(NETWORKS);
    let idle = settled(&status, |_| true)?;
    let wide = machine();
    let (began, own) = (Instant::now(), memory(&status));
    many(&status, count)?;
    let took = began.elapsed();
    let after = settled(&status, |there| *there == idle)?;
    let mut table = new_table(&["what", "before", "after"]);
    let mut row = |what: &str, before: usize, after: usize| {
        table.add_row([what.to_owned(), before.to_string(), after.to_string()]);
    };
    row("processes of the keeper's tree", idle.processes, after.processes);
    row("zombies among them", idle.zombies, after.zombies);
    row("namespaces of them", idle.namespaces, after.namespaces);
    row("cgroups", idle.cgroups, after.cgroups);
    row("descriptors of keeper, daemon and logger", idle.descriptors, after.descriptors);
    row("their memory, KiB", own, memory(&status));
    for ((what, before), (_, after)) in wide.into_iter().zip(machine()) {
        row(what, before, after);
    }
    right_align(&mut table, 1..3);
    let rate = f64::from(count) / took.as_secs_f64();
    println!(
        "{count} runs by {CLIENTS} clients in {:.0} s, {rate:.0}/s\n{table}\n",
        took.as_secs_f64()
    );
    if after != idle {
        bail!("something is left behind: {idle:?} before, {after:?} after");
    }
    Ok(())
}

fn many(status: &Status, count: u32) -> Result<()> {
    let next = AtomicU32::new(0);
    let client = || -> Result<()> {
        let mut http = Http::connect(&status.state_dir)?;
        while next.fetch_add(1, Ordering::Relaxed) < count {
            let end: serde_json::Value = http.post("/exec/true", r#"{"args":[]}"#)?;
            if end["exit"] != 0 {
                bail!("a run did not end well: {end}");
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let mut ended = clients.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.try_for_each(|end| end.map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })
}

/// What is there once it is as wished, or when patience has ended.
fn settled(status: &Status, wish: impl Fn(&There) -> bool) -> Result<There> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = there(status)?;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = there(status)?;
        if (now == last && wish(&now)) || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

fn there(status: &Status) -> Result<There> {
    // The folder of its trees is named by the beginning of its state's id.
    let id = fs::read_to_string(status.state_dir.join("state-id")).context("the state's id")?;
    let name = format!("ganger-{}", id.trim().get(..16).context("a state's id has 32 digits")?);
    let tree = procs::below(status.keeper.pid);
    let namespaces: BTreeSet<_> = tree.iter().flat_map(|pid| namespaces(*pid)).collect();
    let descriptors = own(status).map(|pid| {
        let folder = format!("/proc/{pid}/fd");
        fs::read_dir(&folder).map(Iterator::count).with_context(|| folder)
    });
    Ok(There {
        processes: tree.len(),
        zombies: procs::zombies_of(&tree).len(),
        namespaces: namespaces.len(),
        cgroups: cgroups(Path::new("/sys/fs/cgroup"), &name),
        descriptors: descriptors.sum::<Result<usize>>()?,
    })
}

fn own(status: &Status) -> impl Iterator<Item = i32> {
    let all = [Some(&status.keeper), Some(&status.daemon), status.logger.as_ref()];
    let pids: Vec<i32> = all.into_iter().flatten().map(|process| process.pid).collect();
    pids.into_iter()
}

fn namespaces(pid: i32) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/ns")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// Folders beneath, those with this in their path.
fn cgroups(folder: &Path, name: &str) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let below = folders.map(|entry| {
        let path = entry.path();
        usize::from(path.to_string_lossy().contains(name)) + cgroups(&path, name)
    });
    below.sum()
}

/// Resident memory of ganger's own processes.
fn memory(status: &Status) -> usize {
    let resident = |pid: i32| -> Option<usize> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    own(status).filter_map(resident).sum()
}

/// Of the whole machine, where others live too.
fn machine() -> Vec<(&'static str, usize)> {
    let all: BTreeSet<_> = procs::pids().flat_map(namespaces).collect();
    let mut rows = vec![
        ("namespaces of all processes of this machine", all.len()),
        ("its zombies", procs::zombies()),
    ];
    // What is held by nothing that /proc shows is here all the same.
    let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    for (slab, what) in SLABS {
        let line = slabs.lines().find(|line| line.split_whitespace().next() == Some(slab));
        let active = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        rows.extend(active.map(|active| (what, active)));
    }
    rows
}

/// Kernel objects by the names of their caches, where these are not merged with others.
const SLABS: [(&str, &str); 5] = [
    ("net_namespace", "network namespaces in the kernel"),
    ("user_namespace", "user namespaces in the kernel"),
    ("pid_namespace", "pid namespaces in the kernel"),
    ("mnt_cache", "mounts in the kernel"),
    ("task_struct", "tasks in the kernel"),
];
