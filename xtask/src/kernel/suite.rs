//! What is run in the guest: our test programs, the helper programs they start, and a smoke script of the CLI.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::build;

/// Crates whose tests meet the kernel: spawn, limits, tree kill, logs, takeover.
const PACKAGES: [&str; 8] =
    ["sys", "sandbox", "keeper", "logs", "process", "supervise", "pool", "cli"];
/// Of these only what meets real processes: the programs below `tests/`.
const REAL_ONLY: [&str; 2] = ["pool", "cli"];
/// What is left out because it meets no kernel (rules of services, words of the command), or meets it in the other tests just as
/// well: emulation costs a minute for what takes seconds here, and these run on the machine itself anyway.
const LEFT_OUT: [(&str, Option<User>, &[&str]); 6] = [
    ("supervise", None, &["budget", "instance", "live", "policy", "services", "permit", "spec"]),
    ("cli::e2e", None, &["dead", "imports", "policy", "reload", "store", "why", "words"]),
    // Jobs of a gang are spawned and ended as `run`'s is; perf is refused or not; tasks and codes are the daemon's.
    ("cli::e2e", None, &["exit_codes", "failures", "map", "mapreduce", "profile", "tasks"]),
    // They decide and record. A policy pins programs by file, and the guest's are one busybox.
    ("cli::e2e", None, &["exec", "incidents"]),
    // The daemon's own life and what it hands on: the kernel's side of it is tested in keeper, process and supervise.
    (
        "cli::e2e",
        None,
        &["channel", "crashes", "full_disk", "pass", "probes", "stats", "upgrade", "watch"],
    ),
    // Whose limits and processes these are makes no difference to them.
    ("cli::e2e", Some(User::Tester), &["daemon", "listeners"]),
];
/// Once is enough: files and pipes are the same to both.
const ROOT_ONLY: [&str; 4] = ["logs", "logs::mover", "keeper::wire", "pool::paused"];
/// Emulation is 10 to 20 times slower than the machine; a program that takes longer than this hangs. The longest takes 142 s on a quiet
/// machine with two cores, and took 240 s beside a build.
const TIMEOUT_S: u32 = 480;
const SMOKE: &str = include_str!("smoke.sh");
/// Where the smoke script stands in the guest.
pub(crate) const SMOKE_PATH: &str = "/suite/smoke.sh";

/// Who runs a unit in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// In a cgroup of its own, as systemd gives a system service with `Delegate=yes`.
    Root,
    /// uid 1000 in a delegated subtree, as systemd gives `systemd-run --user --scope`.
    Tester,
}

impl User {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Tester => "tester",
        }
    }
}

/// One program to run.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) user: User,
    pub(crate) timeout_s: u32,
    /// Shell line to run, in `folder`.
    pub(crate) command: String,
    pub(crate) folder: PathBuf,
}

/// The whole list and the files it needs.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) units: Vec<Unit>,
    /// Executables and data, at the same absolute path in the guest.
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) data: Vec<PathBuf>,
    /// Scripts by guest path.
    pub(crate) scripts: Vec<(String, String)>,
    /// Further programs of this machine, by name.
    pub(crate) tools: Vec<&'static str>,
}

/// Builds the programs and lists the units whose name contains one of `only` (all, when it is empty).
pub(crate) fn build(only: &[String]) -> Result<Suite> {
    let build::Built { mut tests, ganger } = build::tests()?;
    tests.retain(|program| {
        PACKAGES.contains(&program.package.as_str()) && !REAL_ONLY.contains(&program.name.as_str())
    });
    let wanted = |name: &str| only.is_empty() || only.iter().any(|word| name.contains(word));
    let mut units = Vec::new();
    for user in [User::Root, User::Tester] {
        let here = |name: &str| user == User::Root || !ROOT_ONLY.contains(&name);
        for program in tests.iter().filter(|it| wanted(&it.name) && here(&it.name)) {
            units.push(Unit {
                name: program.name.clone(),
                user,
                timeout_s: TIMEOUT_S,
                command: format!(
                    "{} --test-threads=2 --show-output{}",
                    program.path.display(),
                    left_out(&program.name, user)
                ),
                folder: program.folder.clone(),
            });
        }
        if wanted("smoke") {
            units.push(Unit {
                name: "smoke".to_owned(),
                user,
                timeout_s: TIMEOUT_S,
                command: format!("GANGER={} sh {SMOKE_PATH}", ganger.display()),
                folder: PathBuf::from("/tmp"),
            });
        }
    }
    let data = tests.iter().map(|p| p.folder.join("tests")).filter(|p| p.is_dir()).collect();
    let mut files: Vec<PathBuf> = tests.into_iter().map(|program| program.path).collect();
    files.push(ganger);
    let scripts = vec![(SMOKE_PATH.to_owned(), SMOKE.to_owned())];
    Ok(Suite { units, programs: files, data, scripts, tools: Vec::new() })
}

/// The words by which libtest skips what is left out.
fn left_out(name: &str, user: User) -> String {
    LEFT_OUT
        .iter()
        .filter(|(program, whom, _)| *program == name && whom.is_none_or(|whom| whom == user))
        .flat_map(|(.., modules)| modules.iter())
        .map(|module| format!(" --skip {module}::"))
        .collect()
}

/// The script that runs one unit: where, with which environment, what. `GANGER_TEST_EMULATED` tells tests of scale that they
/// would take minutes here.
pub(crate) fn script(unit: &Unit) -> String {
    format!(
        "cd {} || exit 99\nexport RUST_BACKTRACE=1 GANGER_TEST_EMULATED=1\n{}\n",
        quoted(&unit.folder),
        unit.command
    )
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
