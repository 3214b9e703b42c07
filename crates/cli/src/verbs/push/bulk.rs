//! Pushing a file: batch by batch, each one commit, with what went wrong told by line.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use bytes::{BufMut, Bytes, BytesMut};
use ganger_api::{ApiError, Client};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest, Sha256};

use super::source::{Batch, Lines, Source};
use super::{Args, Id};
use crate::error::{CliError, Kind};
use crate::text;
use crate::ui::{Out, Ui};

/// Bad lines told one by one; the rest is counted.
const BAD_SHOWN: usize = 20;

/// What has happened so far.
struct Bulk<'a> {
    args: &'a Args,
    client: &'a Client,
    ui: &'a Ui,
    out: Out,
    name: String,
    bar: ProgressBar,
    pushed: usize,
    known: usize,
    bad: usize,
}

/// Pushes every line. With `--key` a second run pushes only what the first did not.
pub(super) async fn run(
    args: &Args,
    client: &Client,
    source: &mut Source,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let Source::Lines(lines) = &*source else {
        return Err(CliError::new(Kind::Usage, "this needs --lines"));
    };
    let (name, bar) = (lines.name.clone(), bar(lines));
    let out = ui.out();
    let mut bulk = Bulk { args, client, ui, out, name, bar, pushed: 0, known: 0, bad: 0 };
    loop {
        let batch = source.batch(args)?;
        if batch.is_empty() {
            return bulk.end();
        }
        bulk.push(batch).await?;
    }
}

impl Bulk<'_> {
    async fn push(&mut self, batch: Batch) -> Result<(), CliError> {
        for (line, why) in &batch.bad {
            self.tell_bad(*line, why);
        }
        if !batch.tasks.is_empty() {
            let body = body(&batch)?;
            let key = self.args.key.as_ref().map(|key| batch_key(key, batch.first, &body));
            let on_error = self.args.on_error;
            let answer = self.client.push_batch(&self.args.queue, body, key, on_error).await;
            let answer = answer.map_err(|error| self.refused(error, &batch))?;
            for refused in &answer.refused {
                self.tell_bad(line_of(&batch, refused.line), &refused.error);
            }
            self.pushed += answer.ids.len();
            self.known += if answer.duplicate { answer.ids.len() } else { 0 };
            for id in answer.ids {
                if self.args.json {
                    self.out.json_line(&Id { v: 1, id })?;
                } else {
                    self.out.line(&id.to_string())?;
                }
            }
            self.out.flush()?;
        }
        self.bar.inc(batch.bytes);
        self.bar.set_message(text::count(self.pushed, "task"));
        Ok(())
    }

    /// Nothing of this batch is pushed; all before it is.
    fn refused(&self, error: ApiError, batch: &Batch) -> CliError {
        let at = error.line.map(|line| format!("{}:{}: ", self.name, line_of(batch, line)));
        let told = CliError::from(ApiError {
            message: format!("{}{}", at.unwrap_or_default(), error.message),
            ..error
        });
        match batch.first {
            1 => told,
            first => told.help(format!(
                "lines 1 to {} are pushed, their ids are on stdout; nothing from line {first} on",
                first - 1
            )),
        }
    }

    fn tell_bad(&mut self, line: u64, why: &str) {
        self.bad += 1;
        if self.bad <= BAD_SHOWN {
            let name = &self.name;
            self.bar.suspend(|| self.ui.talk(&format!("{name}:{line} {}", text::printable(why))));
        }
    }

    fn end(self) -> Result<ExitCode, CliError> {
        self.bar.finish_and_clear();
        self.out.done()?;
        let mut said =
            format!("pushed {} on {}", text::count(self.pushed, "task"), self.args.queue);
        if self.known > 0 {
            said.push_str(&format!(" ({} of them by an earlier run)", self.known));
        }
        if !self.args.json {
            self.ui.talk(&said);
        }
        match (self.bad, self.pushed) {
            (0, _) => Ok(ExitCode::SUCCESS),
            (bad, pushed) => {
                let kind = if pushed == 0 { Kind::Failed } else { Kind::Partial };
                let lines = text::count(bad, "bad line");
                let more = bad.saturating_sub(BAD_SHOWN);
                let error = CliError::new(kind, format!("{}: {lines} left out", self.name));
                Err(if more > 0 {
                    error.help(format!("{more} of them are not shown above"))
                } else {
                    error
                })
            }
        }
    }
}

/// The line of the file that a line of the request stands for.
fn line_of(batch: &Batch, line: u64) -> u64 {
    let at = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
    at.and_then(|at| batch.lines.get(at)).copied().unwrap_or(batch.first)
}

/// One JSON object per line, so that line n of the request is task n of the batch.
fn body(batch: &Batch) -> Result<Bytes, CliError> {
    let mut lines = BytesMut::new().writer();
    for task in &batch.tasks {
        serde_json::to_writer(&mut lines, task).map_err(io::Error::from)?;
        lines.get_mut().put_u8(b'\n');
    }
    Ok(lines.into_inner().freeze())
}

/// The key of one batch of a run: place and content, so that a batch that was changed since is pushed, not taken for
/// the old one.
fn batch_key(key: &str, first: u64, body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let short: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{key}/{first}-{short}")
}

/// Shown where somebody looks at it and ids do not run through the same screen.
fn bar(lines: &Lines) -> ProgressBar {
    if io::stdout().is_terminal() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, look) = match lines.size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:30} {bytes} of {total_bytes}, {msg}, {elapsed_precise}, {eta} left",
        ),
        None => (ProgressBar::no_length(), "{spinner} {bytes}, {msg}, {elapsed_precise}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(look).unwrap_or(ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_batch_has_another_key() {
        assert_eq!(batch_key("k", 1, b"a"), batch_key("k", 1, b"a"));
        assert_ne!(batch_key("k", 1, b"a"), batch_key("k", 1, b"b"));
        assert_ne!(batch_key("k", 1, b"a"), batch_key("k", 1_001, b"a"));
    }

    #[test]
    fn lines_of_the_file_not_of_the_request() {
        let batch = Batch { lines: vec![4, 6], first: 3, ..Batch::default() };
        assert_eq!((line_of(&batch, 1), line_of(&batch, 2), line_of(&batch, 9)), (4, 6, 3));
    }
}
