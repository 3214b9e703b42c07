//! Pushing the tasks and following them to their end, with a progress bar on a terminal.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::files::{Work, lanes};
use crate::ganger::{Finished, Ganger};

/// What came back, by the path's place in the list.
pub(crate) type Results = HashMap<String, Done>;

/// One finished task.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) finished: Finished,
    pub(crate) priority: &'static str,
    /// The how-manieth it was to end.
    pub(crate) place: usize,
}

/// Pushes all lanes, least urgent first (so that order shows what priorities do), and waits for every result.
pub(crate) fn all(ganger: &Ganger, work: &[Work]) -> Result<Results> {
    let bar = ProgressBar::new(work.len() as u64);
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} tasks  {per_sec}  {eta} left  {msg}")
            .context("the progress bar's template")?,
    );
    let (send, ended) = mpsc::channel();
    let mut results = Results::new();
    std::thread::scope(|scope| -> Result<()> {
        let mut lanes = lanes(work).to_vec();
        lanes.reverse();
        let pushers: Vec<_> = lanes
            .into_iter()
            .filter(|(_, files)| !files.is_empty())
            .map(|(priority, files)| {
                let send = send.clone();
                scope.spawn(move || lane(ganger, priority, files, &send))
            })
            .collect();
        drop(send);
        let mut failed = 0_u64;
        for (priority, finished) in ended {
            bar.inc(1);
            if finished.state != "completed" {
                failed += 1;
                bar.set_message(format!("{failed} failed"));
            }
            let place = results.len();
            let id = finished.id.clone();
            results.insert(id, Done { finished, priority, place });
        }
        for pusher in pushers {
            pusher.join().map_err(|_| anyhow::anyhow!("a pusher panicked"))??;
        }
        Ok(())
    })?;
    bar.finish();
    if results.len() != work.len() {
        bail!("{} tasks were pushed, {} results came back", work.len(), results.len());
    }
    Ok(results)
}

/// One `push --wait` of all files of a priority; its lines are results as they come.
fn lane(
    ganger: &Ganger,
    priority: &'static str,
    files: &[Work],
    ended: &mpsc::Sender<(&'static str, Finished)>,
) -> Result<()> {
    let args = ["push", "files", "--lines", "-", "--priority", priority, "--wait", "--json"];
    let mut push = ganger.verb(&args);
    let mut child = push
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start `ganger push`")?;
    let mut payloads = child.stdin.take().context("the push's stdin is a pipe")?;
    let results = child.stdout.take().context("the push's stdout is a pipe")?;
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(move || -> std::io::Result<()> {
            for file in files {
                writeln!(payloads, "{}", serde_json::json!({ "path": file.path }))?;
            }
            Ok(())
        });
        for line in BufReader::new(results).lines() {
            let line = line.context("could not read the results")?;
            let finished = serde_json::from_str(&line)
                .with_context(|| format!("`ganger push` printed something unexpected: {line}"))?;
            if ended.send((priority, finished)).is_err() {
                break;
            }
        }
        writer
            .join()
            .map_err(|_| anyhow::anyhow!("the writer panicked"))?
            .context("could not hand the payloads to `ganger push`")
    })?;
    // A task that failed makes the exit code 1 or 8; its line was read, and is what counts.
    child.wait().context("could not wait for `ganger push`")?;
    Ok(())
}
