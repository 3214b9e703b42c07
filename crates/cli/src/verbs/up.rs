//! `ganger up`: keeper and daemon if none is there, the config applied, then everybody's words.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ganger_api::client::{EventQuery, lock_is_held};
use ganger_api::{
    ApiError, Applied, Change, ChangeAction, Client, ErrorKind, EventLine, Instance, Status,
    WaitCondition, WaitRequest,
};
use ganger_core::Dur;
use ganger_daemon::config::Config;

use super::{ps, validate};
use crate::error::{CliError, Kind};
use crate::gone::Keeper;
use crate::interrupts::Interrupts;
use crate::place::Place;
use crate::progress::Progress;
use crate::tail::Tail;
use crate::ui::Ui;
use crate::{apply, link, start, text};

/// `up`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Return when the config is applied; everything goes on in the background
    #[arg(short, long)]
    detach: bool,
    /// Wait until every service is ready; exit 7 when it takes longer [default: 30s]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30s",
        hide_default_value = true
    )]
    wait: Option<Dur>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    let config = validate::load(&place, ui)?;
    if args.dry_run && !lock_is_held(&place.state_dir) {
        let all = |kind: &str, name: &String| Change {
            action: ChangeAction::Add,
            kind: kind.to_owned(),
            name: name.clone(),
        };
        let mut changes: Vec<Change> = config.services.keys().map(|n| all("service", n)).collect();
        changes.extend(config.queues.keys().map(|name| all("queue", name)));
        changes.extend(config.pools.keys().map(|name| all("pool", name)));
        show_changes(&changes, ui)?;
        return Ok(ExitCode::SUCCESS);
    }
    link::runtime()?.block_on(up(args, &place, &config, ui))
}

async fn up(args: &Args, place: &Place, config: &Config, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut interrupts = Interrupts::new()?;
    let client = Client::new(&place.state_dir);
    if args.dry_run {
        let applied = apply::apply(&client, config, ui, true).await?;
        show_changes(&applied.changes, ui)?;
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
        let applied = apply::apply(&client, config, ui, false).await?;
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
        let ready = scene.until_ready(config, limit.0, &mut interrupts).await?;
        if let Stage::Interrupted = ready {
            return scene.interrupted(ours, tail, &mut interrupts).await;
        }
    }
    let Some(tail) = tail else { return Ok(ExitCode::SUCCESS) };
    match scene.attached(&mut interrupts, &tail).await? {
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

fn show_changes(changes: &[Change], ui: &Ui) -> Result<(), CliError> {
    let mut out = ui.out();
    for change in changes {
        let mark = match change.action {
            ChangeAction::Add => '+',
            ChangeAction::Change => '~',
            ChangeAction::Remove => '-',
            ChangeAction::Keep => continue,
        };
        out.line(&format!("{mark} {} {}", change.kind, change.name))?;
    }
    out.done()?;
    if changes.iter().all(|change| change.action == ChangeAction::Keep) {
        ui.talk("nothing would change");
    }
    Ok(())
}

/// How many the config asks for.
fn instances(config: &Config) -> usize {
    let services = config.services.values().map(|service| service.replicas);
    let workers = config.pools.values().map(|pool| pool.workers.min);
    services.chain(workers).map(|n| usize::try_from(n).unwrap_or(usize::MAX)).sum()
}

/// How a stage of `up` ended.
enum Stage {
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// What was waited for is so; or ganger itself has ended.
    Over,
    /// Stdout is closed.
    NobodyReads,
}

/// What `up` watches while it stays.
struct Scene<'a> {
    keeper: Keeper,
    client: Client,
    events: ganger_api::client::Sse<EventLine>,
    last_seq: Option<u64>,
    progress: Progress,
    ui: &'a Ui,
}

impl Scene<'_> {
    /// Until every service and pool is ready; an error when one gives up or time is over.
    async fn until_ready(
        &mut self,
        config: &Config,
        limit: Duration,
        interrupts: &mut Interrupts,
    ) -> Result<Stage, CliError> {
        let client = self.client.clone();
        let ready = all_ready(&client, config, limit);
        tokio::pin!(ready);
        let error = loop {
            tokio::select! {
                outcome = &mut ready => match outcome {
                    Ok(()) => {
                        self.tell_what_is_there().await?;
                        if let Some(text) = self.progress.all_ready(instances(config)) {
                            self.ui.talk(&text);
                        }
                        return Ok(Stage::Over);
                    }
                    Err(error) => break error,
                },
                event = self.next_event() => {
                    if event?.is_none() {
                        return Ok(Stage::Over);
                    }
                }
                () = interrupts.next() => return Ok(Stage::Interrupted),
            }
        };
        if !matches!(error.kind, ErrorKind::Failed | ErrorKind::Timeout) {
            return Err(error.into());
        }
        self.tell_what_is_there().await?;
        let all = self.client.instances().await?.instances;
        let waiting: Vec<_> = all.into_iter().filter(|instance| !instance.ready).collect();
        Err(not_ready(&waiting, error, self.ui))
    }

    /// Tells the events that have come already: the wait's answer may have been faster.
    async fn tell_what_is_there(&mut self) -> Result<(), CliError> {
        while let Ok(event) = tokio::time::timeout(Duration::ZERO, self.next_event()).await {
            if event?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Shows what happens until it is interrupted or there is nothing left to show.
    async fn attached(
        &mut self,
        interrupts: &mut Interrupts,
        tail: &Tail,
    ) -> Result<Stage, CliError> {
        loop {
            tokio::select! {
                event = self.next_event() => {
                    if event?.is_none() {
                        return Ok(Stage::Over);
                    }
                }
                () = interrupts.next() => return Ok(Stage::Interrupted),
            }
            if tail.has_ended() {
                return Ok(Stage::NobodyReads);
            }
        }
    }

    /// The next event, told; over a restart of the daemon too. `None` when ganger has ended. Cancel safe.
    async fn next_event(&mut self) -> Result<Option<()>, CliError> {
        loop {
            match self.events.next().await {
                Ok(Some(event)) => {
                    self.last_seq = Some(event.seq);
                    if let Some(text) = self.progress.on(&event) {
                        self.ui.talk(&text);
                    }
                    return Ok(Some(()));
                }
                Ok(None) | Err(ganger_api::client::SseError::Broken(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let follow = EventQuery { follow: true, after: self.last_seq, limit: None };
            match self.client.events(&follow).await {
                Ok(events) => self.events = events,
                Err(error) if error.kind == ErrorKind::NoDaemon => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The first Ctrl-C: down if this call started the daemon, else only away from it.
    async fn interrupted(
        &mut self,
        ours: bool,
        tail: Option<Tail>,
        interrupts: &mut Interrupts,
    ) -> Result<ExitCode, CliError> {
        if !ours {
            self.ui.talk("detached; everything goes on (`ganger down` stops it)");
            return Ok(ExitCode::SUCCESS);
        }
        self.ui.talk("stopping (Ctrl-C again to kill now)");
        let down = self.client.down();
        tokio::pin!(down);
        let answer = tokio::select! {
            answer = &mut down => answer?,
            () = interrupts.next() => {
                self.ui.talk("killing");
                kill_all(&self.client).await?;
                down.await?
            }
        };
        for note in &answer.notes {
            self.ui.talk(&format!("warning: {note}"));
        }
        self.keeper.gone().await;
        if let Some(tail) = tail {
            tail.finish();
        }
        self.ui.talk(&format!("stopped {}", text::count(answer.done.len(), "instance")));
        Ok(ExitCode::SUCCESS)
    }
}

/// SIGKILL to every main process; the keeper ends what is left of their trees.
async fn kill_all(client: &Client) -> Result<(), CliError> {
    let before = client.instances().await?.instances;
    let held: Vec<(u32, Keeper)> =
        before.iter().filter_map(|i| i.pid).map(|pid| (pid, Keeper::with_pid(Some(pid)))).collect();
    // A pid that is still listed after its pidfd was opened is the one that was meant.
    let after = client.instances().await?.instances;
    for (pid, process) in held {
        if let Some(pidfd) = process.pidfd().filter(|_| after.iter().any(|i| i.pid == Some(pid))) {
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

/// Waits for them in groups as large as the daemon takes, all under one deadline.
async fn all_ready(client: &Client, config: &Config, limit: Duration) -> Result<(), ApiError> {
    const GROUP: usize = 64;
    let end = Instant::now() + limit;
    let names: Vec<&String> = config.services.keys().chain(config.pools.keys()).collect();
    for group in names.chunks(GROUP) {
        let conditions =
            group.iter().map(|name| WaitCondition::ServiceReady((*name).clone())).collect();
        let left = end.saturating_duration_since(Instant::now());
        client.wait(&WaitRequest { conditions, timeout_s: Some(left.into()) }).await?;
    }
    Ok(())
}

fn not_ready(waiting: &[Instance], error: ApiError, ui: &Ui) -> CliError {
    if !waiting.is_empty() {
        ui.talk(&ps::table(waiting, text::now_ms()).render(ui.width(), ui.talk_is_coloured()));
    }
    let mut names: Vec<&str> = waiting.iter().map(|instance| instance.name.as_str()).collect();
    names.dedup();
    // The table says more than the chain and the hints of the answer.
    let mut told = CliError::from(ApiError::new(error.kind, error.message));
    for name in names.iter().take(3) {
        told = told.help(format!("`ganger logs {name}` shows what it said"));
    }
    told.help("what runs goes on; `ganger down` stops it")
}
