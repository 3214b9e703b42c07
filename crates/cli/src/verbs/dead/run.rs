//! Replays and purges, page by page: one that is broken off has done whole letters only, and may simply be called again.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use ganger_api::{ApiError, Client, DeadDone, DeadQuery, DeadRequest, Timestamp, V1};

use super::{Purge, Replay, Which, print};
use crate::error::{CliError, Kind};
use crate::link;
use crate::text;
use crate::ui::Ui;

/// Letters of one call where no rate is asked for.
const STEP: u32 = 500;
/// Calls a second at a rate: often enough to look even, seldom enough to cost nothing.
const CALLS_PER_SECOND: f64 = 4.0;

/// `10`, `10/s` or `600/m`, as a number a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write it like 10, 10/s or 600/m".into()),
    };
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() && n > 0.0 => Ok(n / seconds),
        _ => Err("write it like 10, 10/s or 600/m, more than 0".into()),
    }
}

pub(super) fn replay(args: &Replay, ui: &Ui) -> Result<ExitCode, CliError> {
    let which = &args.which;
    check(which)?;
    let done = link::session(ui, async |client| {
        if which.dry_run {
            return Ok(client.dead_replay(&request(which)).await?);
        }
        let call = async |request: &DeadRequest| client.dead_replay(request).await;
        each_page(which, args.rate, call, ui, "replayed").await
    })?;
    finish(which, &done, "replayed", ui)
}

pub(super) fn purge(args: &Purge, ui: &Ui) -> Result<ExitCode, CliError> {
    let which = &args.which;
    check(which)?;
    let done = link::session(ui, async |client| {
        if which.dry_run {
            return Ok(client.dead_purge(&request(which)).await?);
        }
        if !args.yes && !agreed(which, &client, ui).await? {
            return Err(CliError::new(Kind::Failed, "nothing was purged"));
        }
        let call = async |request: &DeadRequest| client.dead_purge(request).await;
        each_page(which, None, call, ui, "purged").await
    })?;
    finish(which, &done, "purged", ui)
}

fn check(which: &Which) -> Result<(), CliError> {
    let filtered = !which.filter.is_empty();
    if which.ids.is_empty() && !filtered && !which.all {
        return Err(CliError::new(Kind::Usage, "which dead letters?")
            .help("give ids, a filter like --queue, or --all; `ganger dead list` shows them"));
    }
    if !which.ids.is_empty() && filtered {
        return Err(CliError::new(Kind::Usage, "ids and a filter at once")
            .help("ids name the letters already: leave the filter out"));
    }
    Ok(())
}

/// What died after this moment is left: a letter that comes back and dies again is not brought back twice.
fn request(which: &Which) -> DeadRequest {
    let query = which.filter.query();
    let until = query.until.or(Some(Timestamp(text::now_ms())));
    let filter =
        if which.ids.is_empty() { DeadQuery { until, ..query } } else { DeadQuery::default() };
    DeadRequest { ids: which.ids.clone(), filter, dry_run: which.dry_run }
}

async fn each_page(
    which: &Which,
    rate: Option<f64>,
    call: impl AsyncFn(&DeadRequest) -> Result<DeadDone, ApiError>,
    ui: &Ui,
    past: &str,
) -> Result<DeadDone, CliError> {
    let mut request = request(which);
    let step = rate.map_or(STEP, |rate| ((rate / CALLS_PER_SECOND).ceil() as u32).clamp(1, STEP));
    request.filter.limit = request.ids.is_empty().then_some(step);
    let mut all = DeadDone { v: V1, found: 0, done: 0, skipped: 0, sample: vec![], next: None };
    let mut rest = std::mem::take(&mut request.ids);
    let named = !rest.is_empty();
    let mut due = tokio::time::Instant::now();
    loop {
        if named {
            let n = rest.len().min(step as usize);
            request.ids = rest.drain(..n).collect();
        }
        tokio::time::sleep_until(due).await;
        let page = call(&request).await.map_err(|error| {
            if all.done > 0 {
                ui.talk(&format!("{past} {} before this; call it again for the rest", all.done));
            }
            CliError::from(error)
        })?;
        all.found += page.found;
        all.done += page.done;
        all.skipped += page.skipped;
        if let Some(rate) = rate {
            due += Duration::from_secs_f64(page.done as f64 / rate);
        }
        let goes_on = if named { !rest.is_empty() } else { page.next.is_some() };
        if !goes_on {
            return Ok(all);
        }
        request.filter.after = page.next;
    }
}

/// A person sees what goes before it goes.
async fn agreed(which: &Which, client: &Client, ui: &Ui) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(CliError::new(
            Kind::Usage,
            "a purge can't be undone, and nobody is here to ask",
        )
        .help("look with --dry-run, then say --yes"));
    }
    let dry = DeadRequest { dry_run: true, ..request(which) };
    let seen = client.dead_purge(&dry).await?;
    if !seen.sample.is_empty() {
        print(&seen.sample, ui)?;
    }
    let letters = text::count(usize::try_from(seen.found).unwrap_or(usize::MAX), "dead letter");
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "purge {letters} for ever? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn finish(which: &Which, done: &DeadDone, past: &str, ui: &Ui) -> Result<ExitCode, CliError> {
    if which.out.json {
        ui.json(done)?;
    } else if which.dry_run {
        if !done.sample.is_empty() {
            print(&done.sample, ui)?;
        }
        ui.talk(&format!("{} would be {past}; nothing was done", letters(done.found)));
    } else {
        let skipped = match done.skipped {
            0 => String::new(),
            n => format!("; {n} had changed meanwhile and were left"),
        };
        ui.talk(&format!("{past} {}{skipped}", letters(done.done)));
    }
    if !which.ids.is_empty() && done.skipped > 0 && !which.dry_run {
        let not = format!("{} of {} are no dead letters", done.skipped, which.ids.len());
        return Err(CliError::new(Kind::Partial, not));
    }
    Ok(ExitCode::SUCCESS)
}

fn letters(n: u64) -> String {
    text::count(usize::try_from(n).unwrap_or(usize::MAX), "dead letter")
}

/// The present payload in the user's editor; what is saved is the new one.
pub(super) fn in_editor(present: &str) -> Result<String, CliError> {
    let fail = |what: &str, error: std::io::Error| {
        CliError::new(Kind::Failed, format!("{what}: {error}")).help("or give --payload JSON")
    };
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).ok();
    let editor = editor.filter(|_| std::io::stdin().is_terminal()).ok_or_else(|| {
        CliError::new(Kind::Usage, "there is no editor to open")
            .help("give --payload JSON, or set EDITOR and call it from a terminal")
    })?;
    let pretty = serde_json::from_str::<serde_json::Value>(present)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .ok()
        // What does not read back the same (large numbers) is shown as it is.
        .filter(|pretty| compact(pretty) == compact(present))
        .unwrap_or_else(|| present.to_owned());
    let path = std::env::temp_dir().join(format!("ganger-payload-{}.json", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
    let mut file = options.open(&path).map_err(|e| fail(&path.display().to_string(), e))?;
    let edited = file
        .write_all(pretty.as_bytes())
        .and_then(|()| {
            std::process::Command::new("/bin/sh")
                .args(["-c", &format!("{editor} \"$1\""), "sh"])
                .arg(&path)
                .status()
        })
        .and_then(|status| {
            if status.success() {
                std::fs::read_to_string(&path)
            } else {
                Err(std::io::Error::other(format!("{editor} ended with {status}")))
            }
        });
    let _ = std::fs::remove_file(&path);
    let text = edited.map_err(|e| fail("editing the payload", e))?;
    if text.trim() == pretty.trim() {
        return Err(CliError::new(Kind::Failed, "the payload is as it was: nothing was done")
            .help("`ganger dead replay ID` brings it back unchanged"));
    }
    Ok(text)
}

/// Without the white space between tokens; inside strings it goes as well, which is enough to compare.
fn compact(json: &str) -> String {
    json.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(rate("10"), Ok(10.0));
        assert_eq!(rate("10/s"), Ok(10.0));
        assert_eq!(rate("600/m"), Ok(10.0));
        for wrong in ["", "0", "-1", "1/d", "x", "1/"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
