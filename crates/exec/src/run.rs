//! One run, from the decision to the record of its end. A task of its own; nothing in it survives it.

use std::sync::Arc;
use std::time::Instant;

use ganger_audit as audit;
use ganger_audit::{AuditError, Record, RunId, words};
use ganger_core::{Dur, End};
use ganger_keeper::wire::Plan;
use ganger_policy::{Allowed, Decision, Disk, Feed, Request};
use ganger_process::{Child, Processes, SpawnError};
use ganger_sandbox::{Degraded, Layer, Report};
use tokio::sync::{mpsc, oneshot};

use crate::gate::{Bound, Full, Key};
use crate::handle::{Ask, Ended, Started, Told, Verdict};
use crate::left::Note;
use crate::opened::{self, Opened};
use crate::records::{self, Book, Refusal};
use crate::shut::Shut;
use crate::speech::Speech;
use crate::task::{Enter, Ground};
use crate::watch::{Seen, Watch, judge};
use crate::{evidence, left, plan};

/// What a run needs.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) ground: Arc<Ground>,
    pub(crate) book: Book,
    pub(crate) processes: Processes,
    pub(crate) gates: mpsc::Sender<Enter>,
    /// As many messages as there are runs.
    pub(crate) leave: mpsc::UnboundedSender<Key>,
    /// Tells runs apart in their instances' names.
    pub(crate) slot: u32,
    pub(crate) shut: Shut,
}

/// Room for one run; gives it back when dropped.
struct Permit {
    keys: Vec<Key>,
    leave: mpsc::UnboundedSender<Key>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        for key in self.keys.drain(..) {
            // Without an owner nobody counts.
            let _gone = self.leave.send(key);
        }
    }
}

/// Answers one request; the last thing told is how it ended.
pub(crate) async fn run(ask: Ask, tools: Tools, tell: mpsc::Sender<Told>) {
    let ended = match RunId::random() {
        Ok(run) => Run { run, ask: &ask, tools: &tools, tell: &tell }.answer().await,
        Err(error) => {
            let why = format!("the kernel gives no random bytes for a run's id: {error}");
            Ended::new(RunId([0; 16]), Verdict::Failed, why)
        }
    };
    // Who no longer waits needs no answer: it is recorded.
    drop(tell.send(Told::Ended(Box::new(ended))).await);
}

struct Run<'a> {
    run: RunId,
    ask: &'a Ask,
    tools: &'a Tools,
    tell: &'a mpsc::Sender<Told>,
}

impl Run<'_> {
    async fn answer(&self) -> Ended {
        if let Some(why) = self.tools.shut.why(&self.ask.caller.record) {
            let ended = Ended {
                code: Some(words::LOCKED_OUT.to_owned()),
                ..Ended::new(self.run, Verdict::Denied, why.clone())
            };
            return self.refuse(&Refusal::new(words::LOCKED_OUT, why), ended).await;
        }
        let policies = &self.tools.ground.policies;
        let request = match &self.ask.request {
            Ok(request) => request,
            Err(why) => {
                let ended = Ended {
                    code: Some("request".into()),
                    ..Ended::new(self.run, Verdict::Denied, why.clone())
                };
                return self.refuse(&Refusal::new("request", why.clone()), ended).await;
            }
        };
        match policies.decide(&self.ask.caller.principal, request, &Disk) {
            Decision::Denied(denied) => {
                let ended = Ended {
                    rule: denied.rule.clone(),
                    // Told as if it were not there; the record knows better.
                    code: Some(told_code(&denied).to_owned()),
                    argument: denied.argument,
                    allow: denied.allow.clone(),
                    ..Ended::new(self.run, Verdict::Denied, denied.reason.clone())
                };
                self.refuse(&Refusal::of(&denied), ended).await
            }
            Decision::Allowed(allowed) => self.allowed(&allowed).await,
        }
    }

    /// Nothing runs: that is recorded, then told.
    async fn refuse(&self, refusal: &Refusal<'_>, ended: Ended) -> Ended {
        let digests = self.tools.book.log.digests();
        let policies = &self.tools.ground.policies;
        let none = || Request::policy(&self.ask.policy, &[]);
        let request = self.ask.request.as_ref().map_or_else(|_| none(), Clone::clone);
        let mut record = refusal.record(&request, policies, &digests);
        let first = self.record(Record::Denied(Box::new(record.clone()))).await;
        let result = match first {
            Err(AuditError::TooLarge { .. }) => {
                record.argv = Vec::new();
                record.flags = vec!["arguments_too_long_to_record".into()];
                self.record(Record::Denied(Box::new(record))).await
            }
            other => other,
        };
        match result {
            Ok(()) => ended,
            Err(error) => self.no_record(&error),
        }
    }

    async fn record(&self, record: Record) -> Result<(), AuditError> {
        self.tools.book.of_run(self.run, &self.ask.caller.record, record).await
    }

    fn no_record(&self, error: &AuditError) -> Ended {
        let code = match error {
            AuditError::TooLarge { .. } => "arg_limit",
            _ => "no_audit",
        };
        Ended {
            code: Some(code.into()),
            ..Ended::new(self.run, Verdict::Failed, format!("nothing runs unrecorded: {error}"))
        }
    }

    async fn allowed(&self, allowed: &Allowed) -> Ended {
        let policy = allowed.rule.split('/').next().unwrap_or_default();
        let _permit = match self.enter(policy, allowed).await {
            Ok(permit) => permit,
            Err(full) => return self.limited(allowed, full).await,
        };
        let launch = allowed.launch.clone();
        let opening = tokio::task::spawn_blocking(move || opened::open(&launch)).await;
        let opened = match opening {
            Ok(Ok(opened)) => opened,
            Ok(Err(not)) => {
                let refusal = Refusal::not_opened(&not, &allowed.rule, &allowed.probes);
                let ended = Ended {
                    rule: Some(allowed.rule.clone()),
                    code: Some(not.code.into()),
                    argument: refusal.argument,
                    ..Ended::new(self.run, Verdict::Denied, not.sentence())
                };
                return self.refuse(&refusal, ended).await;
            }
            Err(error) => {
                let why = format!("the paths were not opened: {error}");
                return Ended::new(self.run, Verdict::Failed, why);
            }
        };
        let digests = self.tools.book.log.digests();
        let sha256 = self.tools.ground.digests.get(policy).cloned();
        let intent = records::intent(
            policy,
            &allowed.rule,
            sha256,
            &allowed.launch,
            &allowed.probes,
            &digests,
        );
        if let Err(error) = self.record(Record::Intent(Box::new(intent))).await {
            return self.no_record(&error);
        }
        let ended = self.launched(policy, allowed, opened).await;
        Ended {
            rule: Some(allowed.rule.clone()),
            limits: records::limits(&allowed.launch),
            left_out: plan::left_out(&allowed.launch),
            ..ended
        }
    }

    /// The principal as counters tell it from others.
    fn who(&self) -> String {
        let principal = &self.ask.caller.principal;
        match (&principal.token, principal.uid) {
            (Some(token), _) => format!("token:{token}"),
            (None, Some(uid)) => format!("uid:{uid}"),
            (None, None) => "owner".to_owned(),
        }
    }

    async fn enter(&self, policy: &str, allowed: &Allowed) -> Result<Permit, Full> {
        let launch = &allowed.launch;
        let key = Key { who: self.who(), policy: policy.to_owned() };
        let mut bounds = vec![Bound { key, rate: launch.rate, running: launch.running }];
        if !launch.total.is_none() {
            let program = launch.script.as_ref().unwrap_or(&launch.program);
            let key = Key::of_program(program.path.clone());
            bounds.push(Bound { key, rate: launch.total.rate, running: launch.total.running });
        }
        let keys = bounds.iter().map(|bound| bound.key.clone()).collect();
        let (reply, answer) = oneshot::channel();
        self.tools.gates.send(Enter { bounds, reply }).await.map_err(|_| Full::Closed)?;
        answer.await.unwrap_or(Err(Full::Closed))?;
        Ok(Permit { keys, leave: self.tools.leave.clone() })
    }

    async fn limited(&self, allowed: &Allowed, full: Full) -> Ended {
        let (code, reason, retry_after) = match full {
            Full::Closed => ("closing", "the daemon is going down".to_owned(), None),
            Full::Running(n) => {
                (words::RUNNING, format!("{n} of it run already, as many as may"), None)
            }
            Full::Rate(rate, after) => {
                let per = Dur(rate.per);
                let why =
                    format!("more often than {} in {per}; the next in {}", rate.count, Dur(after));
                (words::RATE, why, Some(after))
            }
        };
        let refusal = Refusal {
            rule: Some(&allowed.rule),
            probes: &allowed.probes,
            ..Refusal::new(code, reason.clone())
        };
        let ended = Ended {
            rule: Some(allowed.rule.clone()),
            code: Some(code.into()),
            retry_after,
            ..Ended::new(self.run, Verdict::Limited, reason)
        };
        self.refuse(&refusal, ended).await
    }

    /// Starts it and sees it to its end. The intent is on disk.
    async fn launched(&self, policy: &str, allowed: &Allowed, opened: Opened) -> Ended {
        let launch = &allowed.launch;
        let note =
            Note { run: self.run, policy: policy.to_owned(), who: self.ask.caller.record.clone() };
        let stdin = match (&launch.stdin, opened.stdin) {
            (Feed::Bytes(_), _) => match ganger_sys::memfd::sealed("ganger-stdin", &self.ask.stdin)
            {
                Ok(fd) => Some(fd),
                Err(error) => return self.not_started(policy, "stdin", &error).await,
            },
            (_, file) => file,
        };
        let plan = plan::plan(launch, &opened.shown, &note, self.tools.slot, stdin.is_some());
        let plan = Plan { whose: Some(self.who()), ..plan };
        let began = Instant::now();
        let mut child = match self.tools.processes.spawn(plan, stdin.into_iter().collect()).await {
            Ok(child) => child,
            Err(error) => return self.not_spawned(policy, &error).await,
        };
        let ends = [child.ends.stdout.take(), child.ends.stderr.take()];
        let speech = Speech::new(ends, launch.limits.output.map(|size| size.0));
        let speech = match speech {
            Ok(speech) => speech,
            Err(error) => {
                drop(child.end_tree().await);
                return self.unknown(&format!("its output can't be read: {error}"));
            }
        };
        let started = Started { run_id: self.run, rule: allowed.rule.clone(), pid: child.pid() };
        drop(self.tell.send(Told::Started(started)).await);
        let mut report = child.report().clone();
        report.degraded.extend(plan::missing(launch));
        let watch = Watch {
            deadline: launch.limits.time.map(|time| began + time.0),
            began,
            speech,
            stopped: None,
            tell: self.tell,
        };
        let seen = watch.until_the_end(&mut child).await;
        self.over(policy, allowed, &child, report, seen).await
    }

    async fn not_started(&self, policy: &str, step: &str, error: &std::io::Error) -> Ended {
        let end =
            End::CouldNotSpawn { step: step.to_owned(), errno: error.raw_os_error().unwrap_or(0) };
        let reason = format!("not started: {step}: {error}");
        self.never_ran(policy, end, reason).await
    }

    async fn not_spawned(&self, policy: &str, error: &SpawnError) -> Ended {
        let end = match error {
            SpawnError::Failed { step, errno, .. } => {
                End::CouldNotSpawn { step: step.clone(), errno: *errno }
            }
            SpawnError::NotPrepared { .. } | SpawnError::Refused { .. } => {
                End::CouldNotSpawn { step: "plan".into(), errno: 0 }
            }
            // It may run: the next daemon knows.
            SpawnError::KeeperGone(_) => return self.unknown(&error.to_string()),
        };
        self.never_ran(policy, end, error.to_string()).await
    }

    async fn never_ran(&self, policy: &str, end: End, reason: String) -> Ended {
        let outcome = left::outcome(policy.to_owned(), (&end).into());
        match self.record(outcome).await {
            Ok(()) => Ended { end: Some(end), ..Ended::new(self.run, Verdict::Allowed, reason) },
            Err(error) => self.no_record(&error),
        }
    }

    /// The intent stays open: the next daemon closes it.
    fn unknown(&self, why: &str) -> Ended {
        Ended::new(self.run, Verdict::Failed, format!("how it ends is not known: {why}"))
    }

    /// Its tree is empty: recorded, acknowledged, told.
    async fn over(
        &self,
        policy: &str,
        allowed: &Allowed,
        child: &Child,
        mut report: Report,
        seen: Result<Seen, ganger_process::KeeperGone>,
    ) -> Ended {
        let Seen { report: exit, mut speech, stopped, took } = match seen {
            Ok(seen) => seen,
            Err(gone) => return self.unknown(&gone.to_string()),
        };
        let (end, breach) = judge(&exit, &speech, stopped, allowed, took);
        let end = evidence::violation(end, &report.walls, &allowed.launch.program.real, took).await;
        let [stdout, stderr] = speech.digests();
        let usage = audit::Usage {
            wall_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            user_us: exit.usage.user_us,
            system_us: exit.usage.system_us,
            memory_peak: exit.usage.peak_rss,
            output: speech.said(),
            stdout_sha256: Some(stdout),
            stderr_sha256: Some(stderr),
        };
        let mut degraded = report.degraded;
        if !exit.stuck.is_empty() {
            degraded.push(Degraded {
                what: "end of its tree".into(),
                why: format!("processes {:?} could not be proven dead", exit.stuck),
                fix: "look at them with ps; they sit in the kernel".into(),
            });
        }
        let word = |layer| serde_json::to_value(layer).ok()?.as_str().map(str::to_owned);
        // The keeper's own of this name is one of the walls.
        report.enforced.retain(|layer| *layer != Layer::NoNewPrivs || report.walls.is_empty());
        let walls = report.walls.iter().map(|wall| wall.as_str().to_owned());
        let held = report.held.iter();
        let held = held.map(|held| format!("{}:{}", held.limit.as_str(), held.by.as_str()));
        let layers = report.enforced.iter().filter_map(word).chain(walls).chain(held);
        let layers: Vec<String> = layers.collect();
        let outcome = audit::Outcome {
            policy: policy.to_owned(),
            end: (&end).into(),
            pid: Some(child.pid()),
            usage,
            enforced: layers.clone(),
            degraded: degraded
                .iter()
                .map(|one| audit::Degraded { what: one.what.clone(), why: one.why.clone() })
                .collect(),
            breach: breach.clone(),
            output_cut: speech.is_cut(),
            flags: evidence::flags(&exit, &speech),
        };
        let recorded = self.record(Record::Outcome(Box::new(outcome))).await;
        if recorded.is_ok() {
            child.ack().confirm().await;
        }
        // What it said last; who asked may be slow, and nothing waits for that any more.
        while let Some((stream, bytes)) = speech.take() {
            if self.tell.send(Told::Said(stream, bytes)).await.is_err() {
                break;
            }
        }
        let reason = match (&recorded, &breach) {
            (Err(error), _) => format!("{end}; its end is not recorded: {error}"),
            (Ok(()), Some(breach)) => format!("{} limit: {end}", breach.limit),
            (Ok(()), None) => end.to_string(),
        };
        Ended {
            code: recorded.is_err().then(|| "no_audit".to_owned()),
            end: Some(end),
            breach,
            layers,
            degraded,
            usage,
            output_cut: speech.is_cut(),
            ..Ended::new(self.run, Verdict::Allowed, reason)
        }
    }
}

/// As whoever asked hears it.
fn told_code(denied: &ganger_policy::Denied) -> &'static str {
    if records::is_oracle(denied.code) {
        ganger_policy::Code::NotAllowed.as_str()
    } else {
        denied.code.as_str()
    }
}
