//! What `up` shows and waits for while it stays, and how it leaves.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ganger_api::client::EventQuery;
use ganger_api::{ApiError, Client, ErrorKind, EventLine, Instance, WaitCondition, WaitRequest};
use ganger_daemon::config::Config;

use super::super::ps;
use super::rewatch::{Again, changed};
use crate::error::CliError;
use crate::gone::Keeper;
use crate::interrupts::Interrupts;
use crate::progress::Progress;
use crate::tail::Tail;
use crate::text;
use crate::ui::Ui;

/// How many the config asks for.
pub(super) fn instances(config: &Config) -> usize {
    let services = config.services.values().filter(|service| !service.on_demand);
    let services = services.map(|service| service.replicas);
    let workers = config.pools.values().map(|pool| pool.workers.min);
    services.chain(workers).map(|n| usize::try_from(n).unwrap_or(usize::MAX)).sum()
}

/// How a stage of `up` ended.
pub(super) enum Stage {
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// What was waited for is so; or ganger itself has ended.
    Over,
    /// Stdout is closed.
    NobodyReads,
}

/// What `up` watches while it stays.
pub(super) struct Scene<'a> {
    pub(super) keeper: Keeper,
    pub(super) client: Client,
    pub(super) events: ganger_api::client::Sse<EventLine>,
    pub(super) last_seq: Option<u64>,
    pub(super) progress: Progress,
    pub(super) ui: &'a Ui,
}

impl Scene<'_> {
    /// Until every reload is over and every service and pool is ready; an error when one goes back, one gives up or time is
    /// over.
    pub(super) async fn until_ready(
        &mut self,
        config: &Config,
        rolls: Vec<String>,
        limit: Duration,
        interrupts: &mut Interrupts,
    ) -> Result<Stage, CliError> {
        let client = self.client.clone();
        let ready = all_ready(&client, config, rolls, limit);
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
    pub(super) async fn attached(
        &mut self,
        interrupts: &mut Interrupts,
        tail: &Tail,
        again: &mut Option<Again<'_>>,
    ) -> Result<Stage, CliError> {
        loop {
            tokio::select! {
                () = changed(again) => if let Some(again) = again {
                    again.apply(&self.client, self.ui).await?;
                },
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
    pub(super) async fn interrupted(
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
async fn all_ready(
    client: &Client,
    config: &Config,
    rolls: Vec<String>,
    limit: Duration,
) -> Result<(), ApiError> {
    const GROUP: usize = 64;
    let end = Instant::now() + limit;
    // First: a service whose new version was taken back is ready too.
    let rolls: Vec<_> = rolls.into_iter().map(WaitCondition::ServiceReloaded).collect();
    // What starts on demand is as it should be without a process.
    let services = config.services.iter().filter(|(_, service)| !service.on_demand);
    let services = services.map(|(name, _)| name);
    let names = services.chain(config.pools.keys());
    let ready = names.map(|name| WaitCondition::ServiceReady(name.clone()));
    let all: Vec<_> = rolls.into_iter().chain(ready).collect();
    for group in all.chunks(GROUP) {
        let conditions = group.to_vec();
        let left = end.saturating_duration_since(Instant::now());
        client.wait(&WaitRequest { conditions, timeout_s: Some(left.into()) }).await?;
    }
    Ok(())
}

fn not_ready(waiting: &[Instance], error: ApiError, ui: &Ui) -> CliError {
    if waiting.is_empty() {
        // All are up, of the old version.
        return CliError::from(error);
    }
    ui.talk(&ps::table(waiting, text::now_ms()).render(ui.width(), ui.talk_is_coloured()));
    let mut names: Vec<&str> = waiting.iter().map(|instance| instance.name.as_str()).collect();
    names.dedup();
    // The table says more than the chain and the hints of the answer.
    let mut told = CliError::from(ApiError::new(error.kind, error.message));
    for name in names.iter().take(3) {
        told = told.help(format!("`ganger logs {name}` shows what it said"));
    }
    told.help("what runs goes on; `ganger down` stops it")
}
