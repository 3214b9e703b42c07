//! `ganger up`: keeper and daemon if none is there, the config applied, then everybody's words.

use std::process::ExitCode;
use std::time::Instant;

use ganger_api::client::{EventQuery, lock_is_held};
use ganger_api::{Applied, ChangeAction, Client, Status, V1};
use ganger_core::Dur;
use ganger_daemon::config::Config;

use self::scene::{Scene, Stage, instances};
use super::validate;
use crate::apply::Ask;
use crate::error::{CliError, Kind};
use crate::gone::Keeper;
use crate::interrupts::Interrupts;
use crate::place::Place;
use crate::progress::Progress;
use crate::tail::Tail;
use crate::ui::Ui;
use crate::{apply, link, start, text};

mod formation;
mod plan;
mod rewatch;
mod scene;

/// `up`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Return when the config is applied; everything goes on in the background
    #[arg(short, long)]
    detach: bool,
    /// Wait until every service is ready and every reload is over; exit 7 when it takes longer, 1 when one fails or
    /// goes back [default: 30s]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30s",
        hide_default_value = true
    )]
    wait: Option<Dur>,
    /// Only show what would change: what starts, restarts, rolls or stops, and why
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: print JSON, stable for scripts
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// Give this shell's environment also to what runs already, by a restart
    #[arg(long)]
    update_env: bool,
    /// Stay and apply the config file again whenever it changes; one with errors changes nothing and is told
    #[arg(long, conflicts_with_all = ["detach", "dry_run", "formation"])]
    watch: bool,
    /// How many of each, in place of the file's: web=2,worker=0; all=N for the others
    #[arg(short = 'm', long, value_name = "NAME=N", value_delimiter = ',')]
    formation: Vec<formation::Count>,
    #[command(flatten)]
    foreign: validate::Foreign,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    let loaded = validate::load_chosen(&place, &args.foreign, ui)?;
    validate::tell(&loaded.notes, ui);
    let mut config = loaded.config;
    formation::apply(&args.formation, &mut config)?;
    if args.dry_run && !lock_is_held(&place.state_dir) {
        let applied = Applied { v: V1, changes: plan::all_new(&config), warnings: Vec::new() };
        plan::show(&applied, args.json, ui)?;
        return Ok(ExitCode::SUCCESS);
    }
    link::runtime()?.block_on(up(args, &place, &config, ui))
}

async fn up(args: &Args, place: &Place, config: &Config, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut interrupts = Interrupts::new()?;
    let client = Client::new(&place.state_dir);
    if args.dry_run {
        let applied =
            apply::apply(&client, config, ui, Ask { dry_run: true, update_env: args.update_env })
                .await?;
        plan::show(&applied, args.json, ui)?;
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let started = start::ensure(place).await?;
    let ours = started.is_some();
    let applied = async {
        let status = client.status().await?;
        serving(&status)?;
        let follow = EventQuery { follow: true, after: None, limit: Some(0) };
        let events = client.events(&follow).await?;
        let tail = if args.detach { None } else { Some(Tail::start(place, ui)?) };
        let applied =
            apply::apply(&client, config, ui, Ask { dry_run: false, update_env: args.update_env })
                .await?;
        Ok((status, events, tail, applied))
    };
    let (status, events, tail, applied) = match applied.await {
        Ok(done) => done,
        Err(error) => return Err(undo(error, started, &client).await),
    };
    tell_applied(&applied, &status, ours, ui);
    let mut scene = Scene {
        keeper: started.unwrap_or_else(|| Keeper::with_pid(status.keeper.pid)),
        client,
        events,
        last_seq: None,
        progress: Progress::new(began, ui.talk_is_coloured(), instances(config)),
        ui,
    };
    if let Some(limit) = args.wait {
        let ready =
            scene.until_ready(config, plan::rolls(&applied), limit.0, &mut interrupts).await?;
        if let Stage::Interrupted = ready {
            return scene.interrupted(ours, tail, &mut interrupts).await;
        }
    }
    let Some(tail) = tail else { return Ok(ExitCode::SUCCESS) };
    let mut again = match args.watch {
        true => {
            let again = rewatch::Again::new(place, args, config)?;
            let file = place.need_config()?.display();
            ui.talk(&format!("{file} is applied again when it changes"));
            Some(again)
        }
        false => None,
    };
    match scene.attached(&mut interrupts, &tail, &mut again).await? {
        Stage::Interrupted => scene.interrupted(ours, Some(tail), &mut interrupts).await,
        Stage::Over => {
            tail.finish();
            ui.talk("ganger has ended");
            Ok(ExitCode::SUCCESS)
        }
        Stage::NobodyReads => Err(CliError::Pipe),
    }
}

/// A daemon that came up but may only answer is a failed start, with its reason.
fn serving(status: &Status) -> Result<(), CliError> {
    match &status.api_only {
        None => Ok(()),
        Some(why) => Err(CliError::new(Kind::Failed, format!("the daemon can't work: {why}"))
            .help("`ganger logs ganger` shows what it said")),
    }
}

/// Nothing was applied: a keeper that this call started has no reason to stay.
async fn undo(error: CliError, started: Option<Keeper>, client: &Client) -> CliError {
    if let Some(keeper) = started {
        let _ = client.down().await;
        let _ = keeper.wait_gone();
    }
    error
}

fn tell_applied(applied: &Applied, status: &Status, ours: bool, ui: &Ui) {
    for warning in &applied.warnings {
        ui.talk(&format!("warning: {warning}"));
    }
    if ours {
        return;
    }
    let changed = applied.changes.iter().filter(|c| c.action != ChangeAction::Keep).count();
    let what = match changed {
        0 => "nothing changed".to_owned(),
        n => text::count(n, "change"),
    };
    ui.talk(&format!(
        "a daemon runs on {} already (pid {}): applied, {what}",
        status.state_dir, status.daemon.pid
    ));
}
