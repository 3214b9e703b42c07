//! What is looked at while a process lives: the sign its start waits for, what it says by sd_notify or on its channel, and
//! its liveness.
//!
//! Sockets that the child writes to are read for as long as it lives, because a full socket would block the child; what
//! nobody waits for is dropped.

mod log;
pub(crate) mod notify;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ganger_ipc::broker::{LineHandle, LineSign};
use ganger_keeper::wire::Plan;
use ganger_logs::read::LogReader;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use notify::{NOTIFY_PREFIX, NotifySocket, Said};

use crate::checks::exec::Execs;
use crate::checks::{Answer, Asker, Check, tcp_address};
use crate::live::{Live, Round};
use crate::pass::Heard;
use crate::spec::ReadyBy;

/// First wait between two questions; doubles up to [`LONGEST`]. The kernel has no event for "somebody listens now" that
/// needs no privileges, so this is asked again and again, for the readiness timeout at most.
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);
/// The same for programs, which cost a process each.
const FIRST_EXEC: Duration = Duration::from_millis(100);
const LONGEST_EXEC: Duration = Duration::from_secs(2);
/// One try: a listener on this machine answers within microseconds, a filtered port never.
const TRY: Duration = Duration::from_secs(2);
/// One try of a program: starting an interpreter takes a second where many start at once.
const TRY_EXEC: Duration = Duration::from_secs(10);

/// What a probe found.
#[derive(Debug)]
pub(crate) enum Found {
    Ready(Option<Answer>),
    /// It will never be ready, and why.
    Never(String),
    /// A bad answer; it is asked again.
    NotYet(Answer),
}

/// A sign of or from the process.
#[derive(Debug)]
pub(crate) enum Sign {
    Found(Found),
    /// By sd_notify.
    Said(Said),
    /// By the primary of its service.
    Heard(Heard),
    /// `"ready"` on its own channel.
    ChannelReady,
    /// What it said on its own channel was refused, and why.
    ChannelRefused(String),
    /// Its own channel can't be read, and why.
    ChannelBroke(String),
    /// Of its liveness.
    Round(Round),
}

/// All that is looked at.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) stage: Option<Probe>,
    pub(crate) notify: Option<notify::Listener>,
    pub(crate) channel: Option<Box<LineHandle>>,
    /// What the primary of its service hears of it.
    pub(crate) heard: Option<watch::Receiver<Heard>>,
    pub(crate) live: Option<Live>,
}

impl Watch {
    /// There is anything to look at.
    pub(crate) const fn any(&self) -> bool {
        self.stage.is_some()
            || self.notify.is_some()
            || self.channel.is_some()
            || self.heard.is_some()
            || self.live.is_some()
    }

    /// The next sign.
    ///
    /// # Cancel safety
    /// Safe: progress is kept in its parts.
    pub(crate) async fn next(&mut self) -> Sign {
        let Self { stage, notify, channel, heard, live } = self;
        // In no order: a process that talks without end is still asked whether it works.
        tokio::select! {
            said = async { notify.as_mut().expect("the branch asks for one").next().await },
                if notify.is_some() => Sign::Said(said),
            // Its end says nothing: the exit, if it is one, is told by the keeper.
            Some(sign) = async { channel.as_mut().expect("the branch asks for one").next().await },
                if channel.is_some() => match sign {
                    LineSign::Ready => Sign::ChannelReady,
                    LineSign::Refused(why) => Sign::ChannelRefused(why),
                    LineSign::Broke(why) => {
                        *channel = None;
                        Sign::ChannelBroke(why)
                    }
                },
            news = async {
                let heard = heard.as_mut().expect("the branch asks for one");
                heard.changed().await.map(|()| heard.borrow_and_update().clone())
            }, if heard.is_some() => match news {
                Ok(news) => Sign::Heard(news),
                Err(_) => {
                    *heard = None;
                    std::future::pending().await
                }
            },
            found = async { stage.as_mut().expect("the branch asks for one").next().await },
                if stage.is_some() => Sign::Found(found),
            round = async { live.as_mut().expect("the branch asks for one").next().await },
                if live.is_some() => Sign::Round(round),
            else => std::future::pending().await,
        }
    }
}

/// Looks for what a start waits for.
pub(crate) enum Probe {
    /// One finding, then nothing more.
    Once(Pin<Box<dyn Future<Output = Found> + Send>>),
    /// A question, with growing waits.
    Asked { asker: Box<Asker>, wait: Duration, longest: Duration },
    /// Nothing more comes.
    Over,
}

/// What a probe needs to know of the process.
pub(crate) struct About<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) pid: u32,
    /// Wall-clock milliseconds since 1970; log lines before that are an earlier process's.
    pub(crate) started_at_ms: u64,
    /// Time since then.
    pub(crate) age: Duration,
    pub(crate) logs: &'a LogReader,
    pub(crate) execs: &'a Execs,
}

impl Probe {
    /// `None` where the process says it by itself.
    pub(crate) fn open(by: &ReadyBy, about: &About<'_>) -> Option<Self> {
        let check = match by {
            ReadyBy::Notify | ReadyBy::Channel | ReadyBy::Listening => return None,
            ReadyBy::Log(pattern) => {
                let (logs, id) = (about.logs.clone(), about.plan.instance.clone());
                let seen = log::has_line(logs, id, pattern.clone(), about.started_at_ms);
                return Some(Self::Once(Box::pin(seen)));
            }
            ReadyBy::Uptime(time) => {
                let left = time.saturating_sub(about.age);
                return Some(Self::Once(Box::pin(async move {
                    tokio::time::sleep(left).await;
                    Found::Ready(None)
                })));
            }
            ReadyBy::Tcp(address) => match tcp_address(address) {
                Ok(address) => Check::Tcp(address),
                Err(why) => return Some(Self::found(Found::Never(why))),
            },
            ReadyBy::Http(check) => Check::Http(check.clone()),
            ReadyBy::Exec(check) => Check::exec(check, about.plan, about.pid, about.execs.clone()),
        };
        let (limit, wait, longest) = match check {
            Check::Exec(..) => (TRY_EXEC, FIRST_EXEC, LONGEST_EXEC),
            _ => (TRY, FIRST, LONGEST),
        };
        let asker = Box::new(Asker::new(check, limit, Instant::now()));
        Some(Self::Asked { asker, wait, longest })
    }

    /// What is known already.
    pub(crate) fn found(found: Found) -> Self {
        Self::Once(Box::pin(std::future::ready(found)))
    }

    /// The next finding; pending for ever once nothing more can come.
    ///
    /// # Cancel safety
    /// Safe: progress is kept in the probe.
    async fn next(&mut self) -> Found {
        let found = match self {
            Self::Once(answer) => answer.await,
            Self::Asked { asker, wait, longest } => {
                let answer = asker.next().await;
                if answer.result.is_err() {
                    asker.again(Instant::now() + *wait);
                    *wait = (*wait * 2).min(*longest);
                    return Found::NotYet(answer);
                }
                Found::Ready(Some(answer))
            }
            Self::Over => std::future::pending().await,
        };
        *self = Self::Over;
        found
    }
}
