//! From a job's words to its result: what can be known before work starts, what an earlier process left, the work, and the publication.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ganger_keeper::Gang;
use sha2::{Digest as _, Sha256};

use super::RunError;
use super::attempt::{Shared, is_whole};
use super::driver::Driver;
use super::journal::{Journal, Row, State};
use super::options::{Job, Note, Outcome};
use super::publish::Folder;
use crate::input::{SplitSize, Splits};
use crate::plan::{AttemptId, Plan, Settings, Task};
use crate::sort::Budget;

/// What ends sooner is not worth a second process.
const SPECULATE: Duration = Duration::from_secs(1);
/// Partitions are two bytes.
const REDUCERS_MAX: u32 = 65_535;

/// Runs a job. Call it before any thread exists: this process becomes its children's keeper.
///
/// # Errors
/// What ended it, see [`RunError`]; nothing of it runs any more then, and what is committed stays for `resume`.
pub fn run(job: Job, said: &mut dyn FnMut(Note<'_>)) -> Result<Outcome, RunError> {
    let folder = Folder::of(&job.output)?;
    let began = folder.journal().exists();
    if began && job.fresh {
        folder.remove()?;
    } else if began && !job.resume {
        return Err(RunError::Unfinished { path: folder.path });
    }
    if job.output.symlink_metadata().is_ok() && !(began && job.resume) {
        return Err(RunError::OutputExists { path: job.output });
    }
    if job.reducers == 0 || job.reducers > REDUCERS_MAX {
        return Err(RunError::TooMuch(format!(
            "{} reducers: 1 to {REDUCERS_MAX} are possible",
            job.reducers
        )));
    }
    let slots = job.slots.max(1);
    let size = job.split.map_or(SplitSize::ForSlots(slots), SplitSize::Bytes);
    let fingerprint = fingerprint(&job)?;
    let splits = Splits::plan(job.inputs.clone(), job.format.clone(), size, job.record_max)?;
    let maps = u32::try_from(splits.count()).map_err(|_| {
        RunError::TooMuch(format!("{} splits are too many: make them larger", splits.count()))
    })?;
    let reduces = if job.reduce.is_some() { job.reducers } else { 0 };
    folder.make()?;
    let (mut journal, mut state) = Journal::open(&folder.journal())?;
    match &state.fingerprint {
        Some((had, _, _)) if *had != fingerprint => {
            let why = "its words, its settings or its input are others now".to_owned();
            return Err(RunError::OtherJob { path: folder.path, why });
        }
        Some((_, had_maps, had_reduces)) if (*had_maps, *had_reduces) != (maps, reduces) => {
            let why = format!("it had {had_maps} splits and {had_reduces} reducers");
            return Err(RunError::OtherJob { path: folder.path, why });
        }
        Some(_) => {}
        None => journal.begin(&fingerprint, (maps, reduces))?,
    }
    let parts = parts(&folder, &state, (maps, reduces));
    let expected = if reduces > 0 { reduces } else { maps };
    if parts.len() as u32 == expected && folder.is_published(&parts) {
        folder.remove()?;
        return Ok(outcome(&state, (maps, reduces), &parts));
    }
    if job.output.symlink_metadata().is_ok() {
        return Err(RunError::OutputExists { path: job.output });
    }
    state.epoch += 1;
    state.dead.clear();
    journal.epoch(state.epoch)?;
    let gang = Gang::new(job.own.clone())?;
    let shared = Shared {
        splits: &splits,
        folder: folder.attempts(),
        budget: Budget::new(job.memory, slots),
        job: &job,
    };
    tidy(&shared, &mut state, &mut journal)?;
    let settings = Settings {
        task_failures: job.task_failures.max(1),
        // Slots of one machine are alike: a row of failures is the tasks'.
        worker_failures: usize::MAX,
        fail_on_dead: !job.keep_going,
        speculate_from: SPECULATE,
        ..Settings::default()
    };
    let rows = state.done.iter().map(|(task, (attempt, _))| (*task, *attempt));
    let plan = Plan::new(maps, reduces, settings, state.epoch, rows);
    let (state, ended) = std::thread::scope(|scope| {
        let mut driver = Driver::new(scope, &shared, gang, plan, (journal, state))?;
        driver.outcome.resumed = driver.state.done.len() as u32;
        let gone = driver.go(said);
        driver.end_all();
        let stopped = driver.stop();
        gone.and(stopped).map(|()| (driver.state, driver.outcome))
    })?;
    let parts = self::parts(&folder, &state, (maps, reduces));
    let dead: Vec<(String, String)> =
        state.dead.iter().map(|(task, why)| (shared.named(*task), why.clone())).collect();
    folder.publish(&parts, &dead)?;
    Ok(Outcome {
        resumed: ended.resumed,
        failed: ended.failed,
        speculative: ended.speculative,
        remade: ended.remade,
        dead,
        ..outcome(&state, (maps, reduces), &parts)
    })
}

/// What decides about the result: the words of the job, and each file with its size and time.
fn fingerprint(job: &Job) -> Result<String, RunError> {
    use std::os::unix::fs::MetadataExt as _;
    let mut hash = Sha256::new();
    hash.update(job.identity.as_bytes());
    for file in 0..job.inputs.len() {
        let path = job.inputs.path(file);
        let meta = path.metadata().map_err(RunError::io("look at", &path))?;
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(
            format!("\0{} {}.{}\n", meta.len(), meta.mtime(), meta.mtime_nsec()).as_bytes(),
        );
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// Removes what earlier processes left and nobody counts, and takes back parts of the result that are not as they were committed. Spills are looked at by who reads them.
fn tidy(shared: &Shared<'_>, state: &mut State, journal: &mut Journal) -> Result<(), RunError> {
    let kept: BTreeSet<PathBuf> =
        state.done.iter().map(|(task, (attempt, _))| shared.path(*task, *attempt)).collect();
    let listed = std::fs::read_dir(&shared.folder).map_err(RunError::io("list", &shared.folder))?;
    for entry in listed {
        let path = entry.map_err(RunError::io("list", &shared.folder))?.path();
        if !kept.contains(&path) {
            std::fs::remove_file(&path).map_err(RunError::io("remove", &path))?;
        }
    }
    let lost: Vec<(Task, AttemptId)> = state
        .done
        .iter()
        .filter(|(task, (attempt, row))| {
            let path = shared.path(**task, *attempt);
            if shared.job.reduce.is_some() && matches!(task, Task::Map(_)) {
                !path.exists()
            } else {
                !is_whole(&path, row)
            }
        })
        .map(|(task, (attempt, _))| (*task, *attempt))
        .collect();
    for (task, attempt) in lost {
        journal.revoke(task, attempt)?;
        state.done.remove(&task);
        // It is not as it was written, and its name is not used again.
        let _ = std::fs::remove_file(shared.path(task, attempt));
    }
    Ok(())
}

/// The files of the result, in order.
fn parts(folder: &Folder, state: &State, (maps, reduces): (u32, u32)) -> Vec<(PathBuf, Row)> {
    let task = |n| if reduces > 0 { Task::Reduce(n) } else { Task::Map(n) };
    let all = (0..if reduces > 0 { reduces } else { maps }).map(task);
    all.filter_map(|task| {
        let (attempt, row) = state.done.get(&task)?;
        Some((folder.attempts().join(attempt.file_name(task)), row.clone()))
    })
    .collect()
}

fn outcome(state: &State, tasks: (u32, u32), parts: &[(PathBuf, Row)]) -> Outcome {
    let mut outcome = Outcome { parts: parts.len(), tasks, ..Outcome::default() };
    for (_, row) in parts {
        outcome.written.0 += row.bytes;
        outcome.written.1 += row.lines;
    }
    for (name, amount) in state.done.values().flat_map(|(_, row)| &row.counters) {
        let sum = outcome.counters.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
    outcome
}
