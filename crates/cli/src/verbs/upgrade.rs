//! `ganger upgrade`: keeper, daemon and logger go on as another binary; what they look after notices nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ganger_api::{ApiError, Client, ClientOptions, Instances, UpgradeRequest, UpgradeStarted};
use serde::Serialize;

use super::Json;
use crate::error::{CliError, Kind};
use crate::link;
use crate::text;
use crate::ui::Ui;

/// The old daemon may take 30 s to end and the new one 60 s to serve; after that the old binary's has to come up again.
const PATIENCE: Duration = Duration::from_secs(150);

/// `upgrade`
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Go on as another version of ganger: keeper, daemon and logger are replaced, services and workers \
run on.\n\nThe keeper becomes the new binary in place, with every process, pipe and socket it holds; then the new daemon takes \
over from the old one, and a newer store is migrated. Calls made meanwhile wait. A binary that can't go on from here is \
refused before anything changes, and one whose daemon does not come up is followed by the old one's."
)]
pub(crate) struct Args {
    /// The binary to go on as [default: the one that is typed]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Only ask the binary whether it can go on from here
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    out: Json,
}

#[derive(Debug, Serialize)]
struct Report {
    v: u8,
    from: String,
    to: String,
    dry_run: bool,
    /// The store's schema is migrated: the old binary can't go back.
    migrates: bool,
    /// What was not yet done stands in none of these.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    done: Option<Done>,
}

#[derive(Debug, Serialize)]
struct Done {
    /// Processes of services and workers before.
    processes: usize,
    /// Of these, those that still run.
    kept: usize,
    /// How long the keeper heard and did nothing.
    keeper_gap_ms: f64,
    /// How long a call waited, from the old daemon's last answer to the new one's first.
    gap_ms: f64,
    daemon_pid: u32,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let request = UpgradeRequest { binary: binary(args.binary.as_ref())?, dry_run: args.dry_run };
    let report = link::session(ui, async |client| upgrade(client, &request).await)?;
    if args.out.json {
        ui.json(&report)?;
    } else {
        for line in lines(&request.binary, &report) {
            ui.talk(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An absolute path: the keeper, which opens it, is somewhere else.
fn binary(given: Option<&PathBuf>) -> Result<String, CliError> {
    let (found, what) = match given {
        Some(path) => (path.canonicalize(), path.display().to_string()),
        None => (std::env::current_exe(), "this program's own file".to_owned()),
    };
    let path = found.map_err(|error| CliError::new(Kind::Usage, format!("{what}: {error}")))?;
    path.into_os_string().into_string().map_err(|path| {
        CliError::new(Kind::Usage, format!("{} is not UTF-8; give it another path", path.display()))
    })
}

async fn upgrade(client: Client, request: &UpgradeRequest) -> Result<Report, CliError> {
    let options =
        ClientOptions { restart_patience: PATIENCE, timeout: PATIENCE, ..Default::default() };
    let client = client.with_options(options);
    let before = pids(&client.instances().await?);
    let started = client.upgrade(request).await?;
    let answered = Instant::now();
    let UpgradeStarted { from, to, migrates, upgrade, .. } = started;
    let mut report = Report { v: 1, from, to, dry_run: request.dry_run, migrates, done: None };
    let Some(upgrade) = upgrade else { return Ok(report) };
    let now = client.last_upgrade().await.map_err(unknown)?;
    let gap = answered.elapsed();
    if let Some(why) = now.last.and_then(|last| last.failed) {
        let message = format!("ganger {} did not come up: {why}", report.to);
        return Err(CliError::new(Kind::Failed, message)
            .help(format!("the daemon of {} is back; nothing was stopped", now.version))
            .help("`ganger logs ganger` shows what the new one said"));
    }
    let after = pids(&client.instances().await?);
    report.done = Some(Done {
        processes: before.len(),
        kept: before.intersection(&after).count(),
        keeper_gap_ms: Duration::from_micros(upgrade.keeper_gap_us).as_secs_f64() * 1e3,
        gap_ms: gap.as_secs_f64() * 1e3,
        daemon_pid: now.daemon_pid,
    });
    Ok(report)
}

fn unknown(error: ApiError) -> CliError {
    CliError::from(error).help("the keeper was replaced; `ganger status` says how it is")
}

fn pids(instances: &Instances) -> BTreeSet<u32> {
    instances.instances.iter().filter_map(|instance| instance.pid).collect()
}

fn lines(binary: &str, report: &Report) -> Vec<String> {
    let Report { from, to, migrates, done, .. } = report;
    let mut lines = Vec::new();
    match done {
        None => lines.push(format!("{binary} can go on from here: ganger {from} → {to}")),
        Some(Done { processes, kept, keeper_gap_ms, gap_ms, .. }) => {
            let all = text::count(*processes, "instance");
            let touched = processes - kept;
            lines.push(format!("ganger {from} → {to}: {all} before, {touched} of them gone since"));
            lines.push(format!("keeper away {keeper_gap_ms:.1} ms, a call waited {gap_ms:.1} ms"));
        }
    }
    if *migrates {
        lines.push(if done.is_some() {
            format!("the store was migrated: {from} can't open it any more")
        } else {
            format!(
                "the store will be migrated, and {from} can't open it then: `ganger store backup`"
            )
        });
    }
    lines
}
