//! Who is locked out: written by the watcher, asked by whoever wants to run something.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ganger_audit::Principal;
use ganger_core::Dur;
use ganger_incident::{LockOut, Who};

/// Principals that may run nothing. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks(Arc<RwLock<HashMap<Who, LockOut>>>);

impl Locks {
    /// What holds from now on.
    pub(super) fn set(&self, locked: &HashMap<Who, LockOut>) {
        let same = *self.0.read().unwrap_or_else(PoisonError::into_inner) == *locked;
        if !same {
            self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(locked);
        }
    }

    /// Why a principal may run nothing now; none: it may.
    pub(crate) fn why(&self, principal: &Principal) -> Option<String> {
        let locked = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if locked.is_empty() {
            return None;
        }
        let lock = locked.get(&Who::from(principal))?;
        let left = lock.until_ns.checked_sub(boot_ns()).filter(|left| *left > 0)?;
        let left = Dur(Duration::from_secs(left.div_ceil(1_000_000_000)));
        Some(format!(
            "locked out for {left} after incident {} ({}); whoever runs ganger can end it",
            lock.incident,
            lock.rule.title()
        ))
    }
}

/// The records' clock.
fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use ganger_incident::Rule;

    use super::*;

    #[test]
    fn a_lock_holds_until_its_time_and_for_its_principal() {
        let locks = Locks::default();
        let who = |name: &str| Principal { name: name.into(), ..Principal::default() };
        let lock =
            |until_ns| LockOut { incident: "I07-3".into(), rule: Rule::EnvInjection, until_ns };
        let hour = 3_600_000_000_000;
        let all =
            [(Who::from(&who("eve")), lock(boot_ns() + hour)), (Who::from(&who("old")), lock(1))];
        locks.set(&all.into());
        let why = locks.why(&who("eve")).unwrap();
        assert!(why.starts_with("locked out for 1h after incident I07-3"), "{why}");
        assert_eq!(locks.why(&who("old")), None);
        assert_eq!(locks.why(&who("ada")), None);
        locks.set(&HashMap::new());
        assert_eq!(locks.why(&who("eve")), None);
    }
}
