//! What probes and the process itself say, as events of the machine and as what is shown of them.

use std::time::Duration;

use ganger_process::KeeperGone;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Task;
use crate::checks::{Answer, Bad, Check};
use crate::instance::outbox::Item;
use crate::instance::record::{CHANNEL_REFUSED, NOTIFY_REFUSED, refused_event, wall_ms};
use crate::instance::state::{Event, Stage};
use crate::live::{Live, Round};
use crate::pass::Heard;
use crate::ready::notify::{Message, Watchdog};
use crate::ready::{About, Found, Probe, Said, Sign};
use crate::spec::{LiveBy, ReadyBy};
use crate::view::{Doing, ProbeKind, ProbeView, Signs};

/// Refusals are told once in this time, with how many there were: a stranger that talks all day fills no store.
const TELL_REFUSALS: Duration = Duration::from_secs(60);

/// What came before the stage of the start that asks for it.
#[derive(Debug, Default)]
pub(super) struct SaidReady {
    notify: bool,
    channel: bool,
    pub(super) listening: bool,
    broken: Option<String>,
}

impl SaidReady {
    /// Its channel can't be read.
    pub(super) fn broke(&mut self, why: String) {
        self.broken = Some(why);
    }

    fn found(&self, by: &ReadyBy) -> Option<Found> {
        match by {
            ReadyBy::Listening if self.listening => Some(Found::Ready(None)),
            ReadyBy::Notify if self.notify => Some(Found::Ready(None)),
            ReadyBy::Channel if self.channel => Some(Found::Ready(None)),
            ReadyBy::Channel => self.broken.clone().map(Found::Never),
            _ => None,
        }
    }
}

/// Messages that did not count.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// The sentence to tell, if it is time.
    fn tell(&mut self, why: String, now: Instant) -> Option<String> {
        if self.told.is_some_and(|told| now < told + TELL_REFUSALS) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        match std::mem::take(&mut self.untold) {
            0 => Some(why),
            n => Some(format!("{why}; and {n} more before it")),
        }
    }
}

impl Task {
    pub(super) async fn on_sign(&mut self, sign: Sign) -> Result<(), KeeperGone> {
        match sign {
            Sign::Found(Found::Ready(answer)) => self.on_found(answer.as_ref()).await,
            Sign::Found(Found::NotYet(answer)) => {
                if let Err(bad) = &answer.result {
                    self.machine.hear(bad.text());
                }
                self.show(self.stage_kind(), Some(&answer), None);
                Ok(())
            }
            Sign::Found(Found::Never(why)) => {
                self.watch.stage = None;
                self.step(Event::NeverReady(why)).await
            }
            Sign::Heard(heard) => self.on_heard(heard).await,
            Sign::ChannelReady => {
                self.said.channel = true;
                self.on_said_ready(&ReadyBy::Channel).await
            }
            Sign::ChannelRefused(why) => {
                self.refuse(CHANNEL_REFUSED, why);
                Ok(())
            }
            Sign::ChannelBroke(why) => {
                self.said.broke(why.clone());
                match self.stage_by() {
                    Some(ReadyBy::Channel) => self.step(Event::NeverReady(why)).await,
                    _ => Ok(()),
                }
            }
            Sign::Said(Said::Message(message)) => self.on_message(message).await,
            Sign::Said(Said::WithoutMain(message, why)) => {
                self.refuse(NOTIFY_REFUSED, why);
                self.on_message(message).await
            }
            Sign::Said(Said::Refused(why)) => {
                self.refuse(NOTIFY_REFUSED, why);
                Ok(())
            }
            Sign::Round(Round::Answered { answer, in_row, verdict }) => {
                self.show(Some(ProbeKind::Live), Some(&answer), Some(in_row));
                match verdict {
                    Some(why) => self.step(Event::Unhealthy(why)).await,
                    None => Ok(()),
                }
            }
            Sign::Round(Round::Silent(why)) => self.step(Event::Hung(why)).await,
        }
    }

    /// What a worker's pool has seen of this process.
    pub(super) async fn on_answered(
        &mut self,
        pid: u32,
        answer: Result<Duration, String>,
    ) -> Result<(), KeeperGone> {
        if self.child.as_ref().is_none_or(|child| child.pid() != pid) {
            return Ok(());
        }
        let (result, took) = match answer {
            Ok(took) => (Ok(()), took),
            Err(why) => (Err(Bad::No(why)), Duration::ZERO),
        };
        let answer = Answer { result, begun: Instant::now(), took };
        let good = answer.result.is_ok();
        self.show(Some(ProbeKind::Live), Some(&answer), good.then_some(0));
        match answer.result {
            Ok(()) => Ok(()),
            Err(bad) => self.step(Event::Unhealthy(bad.text().to_owned())).await,
        }
    }

    /// What the primary of its service has heard. The note comes first: who is ready is one that the next daemon knows.
    async fn on_heard(&mut self, heard: Heard) -> Result<(), KeeperGone> {
        let (listening, ready) = (heard.listening, heard.ready);
        self.note_worker(heard.keys);
        self.leave_note().await?;
        if listening && !std::mem::replace(&mut self.said.listening, true) {
            self.on_said_ready(&ReadyBy::Listening).await?;
        }
        if ready && !std::mem::replace(&mut self.said.channel, true) {
            self.on_said_ready(&ReadyBy::Channel).await?;
        }
        Ok(())
    }

    async fn on_found(&mut self, answer: Option<&Answer>) -> Result<(), KeeperGone> {
        self.show(self.stage_kind(), answer, Some(0));
        self.step(Event::Ready).await
    }

    /// It said "ready" itself: counts if its start waits for exactly that.
    async fn on_said_ready(&mut self, by: &ReadyBy) -> Result<(), KeeperGone> {
        if self.stage_by() == Some(by) { self.on_found(None).await } else { Ok(()) }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), KeeperGone> {
        self.show_message(&message);
        if let Some(every) = message.watchdog_every
            && let Some(live) = &mut self.watch.live
        {
            live.set_every(every);
        }
        if message.watchdog == Some(Watchdog::Alive)
            && let Some(live) = &mut self.watch.live
        {
            live.alive();
        }
        if let Some(time) = message.extend {
            self.step(Event::Extend(time)).await?;
        }
        if message.ready {
            self.said.notify = true;
            self.on_said_ready(&ReadyBy::Notify).await?;
        }
        if message.watchdog == Some(Watchdog::Trigger) && self.spec.watchdog().is_some() {
            let why = "it said WATCHDOG=trigger: that it does not work".to_owned();
            self.step(Event::Hung(why)).await?;
        }
        Ok(())
    }

    fn refuse(&mut self, kind: &'static str, why: String) {
        if let Some(why) = self.refusals.tell(why, Instant::now()) {
            let told = refused_event(self.spec.id(), kind, why);
            self.outbox.tell(Item::Now(Box::new(told)));
        }
    }

    /// A new process: nothing is known of it.
    pub(super) fn begin_watch(&mut self) {
        self.said = SaidReady::default();
        let (spec, mut probes) = (&self.spec, vec![]);
        let stages = [(ProbeKind::Startup, &spec.startup), (ProbeKind::Ready, &spec.ready)];
        for (kind, ready) in stages {
            probes.extend(ready.as_ref().map(|ready| probe_view(kind, ready.by.to_string())));
        }
        probes.extend(spec.live.as_ref().map(|l| probe_view(ProbeKind::Live, l.by.to_string())));
        if probes.is_empty() && self.board.is_none() {
            return;
        }
        let signs = Signs { probes, ..Signs::default() };
        match &self.board {
            Some(board) => drop(board.send_replace(signs)),
            None => self.board = Some(watch::Sender::new(signs)),
        }
    }

    /// The process has ended.
    pub(super) fn end_watch(&mut self) {
        let watch = std::mem::take(&mut self.watch);
        if let Some(line) = watch.channel {
            line.over();
        }
    }

    /// Looks for what the machine's stage waits for.
    pub(super) fn open_probe(&mut self) {
        self.watch.stage = None;
        let (Some(child), Some(by)) = (&self.child, self.stage_by()) else { return };
        let started_at_ms = child.started_at_ms();
        let about = About {
            plan: &self.spec.plan,
            pid: child.pid(),
            started_at_ms,
            age: Duration::from_millis(wall_ms().saturating_sub(started_at_ms)),
            logs: &self.around.logs,
            execs: &self.around.execs,
        };
        self.watch.stage = match self.said.found(by) {
            Some(found) => Some(Probe::found(found)),
            None => Probe::open(by, &about),
        };
    }

    /// Liveness is looked at exactly while the machine says so.
    pub(super) fn follow_live(&mut self) {
        let wanted = self.child.is_some() && self.spec.live.is_some() && self.machine.is_live();
        if !wanted {
            self.watch.live = None;
        } else if self.watch.live.is_none() {
            self.watch.live = self.open_live();
        }
    }

    fn open_live(&self) -> Option<Live> {
        let (rules, child) = (self.spec.live.as_ref()?, self.child.as_ref()?);
        let check = match &rules.by {
            LiveBy::Watchdog => return Some(Live::watchdog(rules)),
            LiveBy::Ping => return None,
            LiveBy::Tcp(address) => Check::Tcp(address.clone()),
            LiveBy::Http(check) => Check::Http(check.clone()),
            LiveBy::Exec(check) => {
                let execs = self.around.execs.clone();
                Check::exec(check, &self.spec.plan, child.pid(), execs)
            }
        };
        Some(Live::asking(rules, check))
    }

    fn stage_by(&self) -> Option<&ReadyBy> {
        let ready = match self.machine.stage()? {
            Stage::StartUp => &self.spec.startup,
            Stage::Ready => &self.spec.ready,
        };
        ready.as_ref().map(|ready| &ready.by)
    }

    fn stage_kind(&self) -> Option<ProbeKind> {
        self.machine.stage().map(|stage| match stage {
            Stage::StartUp => ProbeKind::Startup,
            Stage::Ready => ProbeKind::Ready,
        })
    }

    /// Shows an answer; without one, that the process said so itself. `in_row`: bad ones in a row, else they are counted.
    fn show(&self, kind: Option<ProbeKind>, answer: Option<&Answer>, in_row: Option<u32>) {
        let (Some(board), Some(kind)) = (&self.board, kind) else { return };
        board.send_modify(|signs| {
            let Some(probe) = signs.probes.iter_mut().find(|p| p.kind == kind) else { return };
            let bad = answer.and_then(|answer| answer.result.as_ref().err());
            probe.ok = Some(bad.is_none());
            probe.said = bad.map_or(String::new(), |bad| bad.text().to_owned());
            probe.failures = in_row.unwrap_or(probe.failures.saturating_add(1));
            probe.checks = probe.checks.saturating_add(1);
            probe.latency = answer.map(|answer| answer.took);
            probe.at_ms = wall_ms();
        });
    }

    fn show_message(&self, message: &Message) {
        let Some(board) = &self.board else { return };
        board.send_modify(|signs| {
            if message.ready {
                signs.doing = None;
            }
            if message.reloading {
                signs.doing = Some(Doing::Reloading);
            }
            if message.stopping {
                signs.doing = Some(Doing::Stopping);
            }
            if let Some(status) = &message.status {
                signs.status = Some(status.clone()).filter(|text| !text.is_empty());
            }
            if message.main_pid.is_some() {
                signs.main_pid = message.main_pid;
            }
        });
        if message.watchdog == Some(Watchdog::Alive) {
            self.show(Some(ProbeKind::Live), None, Some(0));
        }
    }
}

const fn probe_view(kind: ProbeKind, what: String) -> ProbeView {
    ProbeView {
        kind,
        what,
        ok: None,
        said: String::new(),
        failures: 0,
        checks: 0,
        latency: None,
        at_ms: 0,
    }
}
