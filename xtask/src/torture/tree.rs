//! A hostile tree: it ignores SIGTERM, leaves its session by a double fork, and re-forks every 5 ms. As a service, as a
//! worker's children, and under `ganger run`, nothing of it may be left after the stop timeout and a second.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::procs::{self, MARK};
use super::verdict::Verdict;
use crate::ganger::Ganger;
use crate::{build, sh};

/// Of service and pool.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// `stop` must be done within the stop timeout and this.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) fn run(binary: &Path, verdict: &mut Verdict) -> Result<()> {
    println!("tree: a process tree that does not want to end");
    let folder = tempfile::Builder::new()
        .prefix("tree-")
        .tempdir_in(build::cache_dir("torture")?)
        .context("could not make a folder")?;
    let me = build::own_copy()?;
    let (me, ledger) = (me.display(), folder.path().join("ledger"));
    // An ignored signal stays ignored through exec (signal(7)).
    let hydra = format!("trap \"\" TERM; exec {me} cast hydra");
    let brood = format!("trap \"\" TERM; exec {me} cast brood {}", ledger.display());
    let config = format!(
        "version = 1\n\
         [service.hydra]\nshell = '''{hydra}'''\nstop_timeout = \"{stop}s\"\n\
         [queue.work]\n\
         [pool.brood]\nshell = '''{brood}'''\nqueues = [\"work\"]\nworkers = 1\nprotocol = \"stdio\"\n\
         stop_timeout = \"{stop}s\"\n",
        stop = STOP_TIMEOUT.as_secs()
    );
    std::fs::write(folder.path().join("ganger.toml"), config)?;
    let mark = format!("tree-{}", std::process::id());
    let ganger =
        Ganger::new(binary.to_path_buf(), folder.path().to_path_buf()).with_env(MARK, &mark);
    let ended = service_and_worker(&ganger, &mark, verdict);
    ganger.down()?;
    ended?;
    let left: Vec<String> = procs::marked_ever(&mark).iter().map(|p| p.command.clone()).collect();
    verdict.claim("tree: no process is left after down", &left);
    under_run(&ganger, &mark, &hydra, verdict)
}

fn service_and_worker(ganger: &Ganger, mark: &str, verdict: &mut Verdict) -> Result<()> {
    ganger.up()?;
    ganger.wait(&["service:hydra=ready"], "30s")?;
    // The worker has its tree once it has done a task.
    ganger.run(&["push", "work", "--payload", "{\"n\":1,\"ms\":1}", "--wait"])?;
    for name in ["hydra", "brood"] {
        let before = members(mark, name);
        verdict.so(&format!("tree: {name} has a tree"), before.len() >= 2, &format!("{before:?}"));
        let since = Instant::now();
        ganger.run(&["stop", name])?;
        let took = since.elapsed();
        verdict.claim(
            &format!("tree: nothing of {name} is left after stop ({:.2} s)", took.as_secs_f64()),
            &members(mark, name),
        );
        verdict.so(
            &format!("tree: stop of {name} took no more than its timeout and a second"),
            took <= STOP_TIMEOUT + GRACE,
            &format!("{:.2} s", took.as_secs_f64()),
        );
    }
    let told = ganger
        .events()?
        .iter()
        .any(|line| line.contains("\"name\":\"hydra\"") && line.contains("killed by SIGKILL"));
    verdict.so("tree: its end is told with its reason", told, "no event says `killed by SIGKILL`");
    let keeper = ganger.status()?.keeper.pid;
    std::thread::sleep(GRACE);
    let zombies: Vec<String> =
        procs::zombies_of(&[keeper]).iter().map(|pid| format!("pid {pid}")).collect();
    verdict.claim("tree: no zombie", &zombies);
    Ok(())
}

fn under_run(ganger: &Ganger, mark: &str, hydra: &str, verdict: &mut Verdict) -> Result<()> {
    /// Exit code of `run` when the timeout ended the command.
    const TIMED_OUT: i32 = 124;
    let since = Instant::now();
    let out = sh::output(&mut ganger.verb(&["run", "--timeout", "1s", "--", "sh", "-c", hydra]))?;
    let took = since.elapsed();
    let left: Vec<String> = procs::marked_ever(mark).iter().map(|p| p.command.clone()).collect();
    verdict.claim("tree: nothing is left after `ganger run`", &left);
    verdict.so(
        "tree: `ganger run` says that time was over",
        out.status.code() == Some(TIMED_OUT),
        &format!(
            "{} after {:.1} s: {}",
            out.status,
            took.as_secs_f64(),
            String::from_utf8_lossy(&out.stderr)
        ),
    );
    Ok(())
}

/// Processes of an instance's tree.
fn members(mark: &str, name: &str) -> Vec<String> {
    let of_name = |instance: &Option<String>| {
        instance
            .as_deref()
            .and_then(|i| i.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('#'))
    };
    procs::marked_ever(mark)
        .iter()
        .filter(|process| of_name(&process.instance))
        .map(|process| format!("pid {}: {}", process.pid, process.command))
        .collect()
}
