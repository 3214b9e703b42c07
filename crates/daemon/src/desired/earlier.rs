//! The version of a service that ran before the configured one: what a reload comes from, and what it goes back to.
//!
//! ```text
//! apply of a change that rolls ──► earlier ──reload done, or cut short──► forgotten
//!                                     └──taken back──► it is what runs, whoever starts it, until the next apply
//! ```

use ganger_api::Timestamp;
use ganger_core::ReloadState;
use ganger_supervise::ReloadView;
use serde::{Deserialize, Serialize};

use super::Desired;
use crate::config::Service;
use crate::environments::Variables;

/// A version, and how it comes that it is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Earlier {
    /// What ran.
    pub(crate) service: Service,
    /// What it inherited.
    pub(crate) environment: Variables,
    /// The configured version did not come up, so this one runs. Absent: a reload is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taken_back: Option<TakenBack>,
}

/// Why the configured version does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TakenBack {
    pub(crate) reason: String,
    /// Names of both versions.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) began: Timestamp,
    pub(crate) ended: Timestamp,
}

impl TakenBack {
    fn of(view: &ReloadView) -> Self {
        Self {
            reason: view.reason.clone(),
            from: view.from.clone(),
            to: view.to.clone(),
            began: Timestamp(view.began_ms),
            ended: Timestamp(view.ended_ms.unwrap_or(view.began_ms)),
        }
    }
}

impl Desired {
    /// What a service runs by, once no reload is under way: as configured, or the version before it.
    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        let configured = self.config.services.get(name)?;
        let earlier = self.earlier.get(name).filter(|earlier| earlier.taken_back.is_some());
        Some(earlier.map_or(configured, |earlier| &earlier.service))
    }

    /// What it inherits.
    pub(crate) fn environment(&self, name: &str) -> Variables {
        let earlier = self.earlier.get(name).filter(|earlier| earlier.taken_back.is_some());
        earlier.map_or_else(|| self.environments.of(name), |one| Variables::clone(&one.environment))
    }

    /// What a reload that begins now comes from: what runs, which is not yet what an unfinished reload brings.
    pub(crate) fn running(&self, name: &str) -> Option<Earlier> {
        let configured = || {
            let service = self.config.services.get(name)?.clone();
            let environment = self.environments.of(name);
            Some(Earlier { service, environment, taken_back: None })
        };
        let earlier = self.earlier.get(name).cloned();
        let earlier = earlier.map(|earlier| Earlier { taken_back: None, ..earlier });
        earlier.or_else(configured)
    }

    /// A reload is over; gives false where that changes nothing.
    pub(crate) fn reloaded(&mut self, name: &str, view: &ReloadView) -> bool {
        let Some(earlier) = self.earlier.get_mut(name).filter(|one| one.taken_back.is_none())
        else {
            return false;
        };
        match view.state {
            ReloadState::Rolling | ReloadState::GoingBack => return false,
            ReloadState::TakenBack => earlier.taken_back = Some(TakenBack::of(view)),
            ReloadState::Done | ReloadState::CutShort => drop(self.earlier.remove(name)),
        }
        true
    }

    /// There is no reload that could bring what is configured: it starts like anything else. Gives false where that changes
    /// nothing.
    pub(crate) fn forget_unfinished(&mut self, name: &str) -> bool {
        let unfinished = self.earlier.get(name).is_some_and(|one| one.taken_back.is_none());
        unfinished && self.earlier.remove(name).is_some()
    }
}
