//! Replacing ganger's own program: one asker at a time, answered by the keeper's news.

use ganger_keeper::wire::{Offer, Request, Upgrade, UpgradeNews};
use tokio::sync::oneshot;

use super::Router;
use crate::control::answer;
use crate::error::UpgradeError;
use crate::processes::Notice;

/// Who waits.
#[derive(Default)]
pub(super) enum Upgrading {
    #[default]
    No,
    Examining(oneshot::Sender<Result<Offer, UpgradeError>>),
    Replacing(oneshot::Sender<Result<Upgrade, UpgradeError>>),
}

impl Router {
    pub(super) fn examine(
        &mut self,
        path: String,
        reply: oneshot::Sender<Result<Offer, UpgradeError>>,
    ) {
        match &self.upgrading {
            Upgrading::No => {
                self.upgrading = Upgrading::Examining(reply);
                self.ask(Request::Examine { path }, vec![]);
            }
            _ => answer(reply, Err(UpgradeError::Busy)),
        }
    }

    pub(super) fn upgrade(&mut self, reply: oneshot::Sender<Result<Upgrade, UpgradeError>>) {
        match &self.upgrading {
            Upgrading::No => {
                self.upgrading = Upgrading::Replacing(reply);
                self.ask(Request::Upgrade, vec![]);
            }
            _ => answer(reply, Err(UpgradeError::Busy)),
        }
    }

    pub(super) fn on_upgrade_news(&mut self, news: UpgradeNews) {
        let waiting = std::mem::take(&mut self.upgrading);
        match (news, waiting) {
            (UpgradeNews::Offered { offer }, Upgrading::Examining(reply)) => {
                answer(reply, Ok(offer));
            }
            (UpgradeNews::Refused { why }, Upgrading::Examining(reply)) => {
                answer(reply, Err(UpgradeError::Refused { why }));
            }
            (UpgradeNews::Refused { why }, Upgrading::Replacing(reply)) => {
                answer(reply, Err(UpgradeError::Refused { why }));
            }
            (UpgradeNews::Done { upgrade }, waiting) => {
                self.tell(Notice::Upgraded(upgrade.clone()));
                if let Upgrading::Replacing(reply) = waiting {
                    answer(reply, Ok(upgrade));
                }
            }
            // Of no use to this asker: its own answer is still to come.
            (UpgradeNews::Offered { .. }, waiting) => self.upgrading = waiting,
            (UpgradeNews::Refused { why }, Upgrading::No) => self.tell(Notice::Refused { why }),
        }
    }
}
