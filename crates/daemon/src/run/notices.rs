//! What the keeper tells that belongs to no child: its pid, the logger's, dropped bytes, a wish to end, its death.

use std::time::Duration;

use ganger_core::logwire::LogReply;
use ganger_keeper::wire::Upgrade;
use ganger_process::{KeeperLost, Notice};
use tokio::sync::watch;

use super::start::Notices;
use crate::app::About;
use crate::foreman::Foreman;
use crate::http::{END_TIMEOUT, UPGRADE_TIMEOUT};
use crate::recorder::Events;

/// Why serving ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// Everything is down.
    Down,
    /// The keeper is gone.
    KeeperLost(Box<KeeperLost>),
    /// The keeper runs another binary, and the next daemon does too.
    Upgraded,
}

impl Ending {
    /// Why, in a word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::KeeperLost(_) => "the keeper is gone",
            Self::Upgraded => "upgrade",
        }
    }

    /// How long open answers may take.
    pub(super) const fn patience(&self) -> Duration {
        match self {
            Self::Upgraded => UPGRADE_TIMEOUT,
            Self::Down | Self::KeeperLost(_) => END_TIMEOUT,
        }
    }
}

/// Follows the keeper's notices until it is gone.
pub(super) async fn follow(
    mut notices: Notices,
    about: watch::Sender<About>,
    events: Option<Events>,
    foreman: Foreman,
) -> Ending {
    let mut going_down = tokio::task::JoinSet::new();
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Welcome { keeper_pid, .. } => {
                about.send_modify(|about| about.keeper_pid = keeper_pid);
            }
            Notice::LoggerStarted { pid, previous } => {
                about.send_modify(|about| about.logger_pid = Some(pid));
                if let Some(end) = previous {
                    tell(&events, "logger.restart", "", format!("the logger before it {end}"))
                        .await;
                }
            }
            Notice::Log(reply) => log(reply, &about, &events).await,
            Notice::Refused { why } => tell(&events, "keeper.refused", "", why).await,
            Notice::ShutdownAsked { why } => {
                tell(&events, "daemon.end_asked", "", why).await;
                let foreman = foreman.clone();
                going_down.spawn(async move {
                    if let Err(error) = foreman.end().await {
                        tracing::warn!(error = %error.message, "going down already");
                    }
                });
            }
            Notice::Upgraded(Upgrade { from, to, keeper_gap_us, children, .. }) => {
                let reason = format!(
                    "{from} to {to}: {children} children went through it, and nobody looked after them for {keeper_gap_us} us"
                );
                tell(&events, "daemon.upgrade", "", reason).await;
                return Ending::Upgraded;
            }
            Notice::KeeperLost(lost) => return Ending::KeeperLost(lost),
        }
    }
    Ending::Down
}

async fn log(reply: LogReply, about: &watch::Sender<About>, events: &Option<Events>) {
    if let LogReply::Dropped { name, slot, stream, bytes, why, .. } = reply {
        about.send_modify(|about| about.log_bytes_dropped += bytes);
        let reason = format!("{bytes} bytes of {name}#{slot} {stream} were dropped: {why}");
        tell(events, "log.dropped", &name, reason).await;
    }
}

async fn tell(events: &Option<Events>, kind: &str, name: &str, reason: String) {
    match events {
        Some(events) => events.tell(kind, name, reason).await,
        None => tracing::warn!(kind, name, reason),
    }
}
