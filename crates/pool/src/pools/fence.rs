//! Claims whose process may still be there though nobody holds it: when keeper and daemon died together and the next keeper
//! could not end everything they left.
//!
//! ```text
//!                       a process that may be its own lives?
//!  claim of a dead ────────── no ──► settled like any other (its place, or: lost)
//!  daemon       └──── yes ──► stuck: it goes on counting as running, is not run again, and is told
//!                                └── every such process has ended ──► lost: it runs again, by its retry rules
//! ```
//!
//! A claim that is stuck stays in the store as what it is, an attempt of an earlier epoch that runs: so whatever dies next, the
//! next daemon finds it and asks the same question.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ganger_core::{InstanceId, TaskId, Token};
use ganger_keeper::survivor::may_be;
use ganger_keeper::wire::Survivor;
use ganger_process::Child;
use ganger_store::RunningRow;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::takeover::{gone, place_of};
use crate::command::note_of;
use crate::dispatcher::Msg;
use crate::events::{of_worker, tell};
use crate::worker::Shared;

/// An attempt that is not run again as long as a process may be its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckTask {
    /// The task.
    pub id: TaskId,
    /// The place it ran in.
    pub worker: Arc<str>,
    /// Processes of an earlier run that may be its own and have not ended.
    pub pids: Vec<u32>,
}

/// A claim and the processes that may run it.
#[derive(Debug)]
pub(super) struct Stuck {
    claim: RunningRow,
    by: Vec<Survivor>,
}

/// What is known of a child that the keeper holds.
#[derive(Debug, Clone)]
pub(super) struct Known {
    place: InstanceId,
    pid: u32,
    epoch: u32,
    task: Option<Token>,
}

impl Known {
    pub(super) fn of(child: &Child) -> Self {
        Self {
            place: child.instance().clone(),
            pid: child.pid(),
            epoch: epoch_of(child.id()),
            task: note_of(child).map(|note| note.token),
        }
    }
}

/// Daemons count their spawns below their epoch.
const fn epoch_of(spawn: ganger_core::SpawnId) -> u32 {
    (spawn.0 >> 32) as u32
}

/// Parts claims that may still be run by what survived from the others. `hidden`: a process that has a claim's number, is as
/// old, and does not show whose it is.
pub(super) fn part(
    claims: Vec<RunningRow>,
    survivors: &[Survivor],
    known: &[Known],
    mut hidden: impl FnMut(&RunningRow) -> Option<Survivor>,
) -> (Vec<RunningRow>, Vec<Stuck>) {
    // What the keeper holds was started after what it could not end.
    let newer = known.iter().map(|child| child.epoch).min();
    let (mut rest, mut stuck) = (Vec::new(), Vec::new());
    for claim in claims {
        let place = place_of(&claim.worker);
        let held = known.iter().any(|child| {
            let same = child.pid == claim.pid || child.task == Some(claim.token);
            child.place == place && same
        });
        if held || newer.is_some_and(|newer| claim.token.epoch >= newer) {
            rest.push(claim);
            continue;
        }
        let may = |one: &&Survivor| {
            let elsewhere = one.instance.as_ref().is_some_and(|instance| *instance != place);
            let later = one.spawn.is_some_and(|spawn| epoch_of(spawn) > claim.token.epoch);
            !elsewhere && !later
        };
        let mut by: Vec<Survivor> = survivors.iter().filter(may).cloned().collect();
        if !by.iter().any(|one| one.pid == claim.pid) {
            by.extend(hidden(&claim));
        }
        if by.is_empty() {
            rest.push(claim);
        } else {
            stuck.push(Stuck { claim, by });
        }
    }
    (rest, stuck)
}

/// Asks the kernel for [`part`], once per number.
pub(super) fn hidden() -> impl FnMut(&RunningRow) -> Option<Survivor> {
    let mut asked: HashMap<(u32, u64), Option<Survivor>> = HashMap::new();
    move |claim| {
        let at = claim.started_at_ms.unwrap_or(claim.claimed_at_ms);
        let ask = || may_be(claim.pid, at);
        (claim.pid != 0).then(|| asked.entry((claim.pid, at)).or_insert_with(ask).clone())?
    }
}

/// Tells of them, waits for the ends of the processes, and gives each claim free when the last that may run it has ended.
/// Ends with the last claim.
pub(super) async fn watch(
    mut stuck: Vec<Stuck>,
    shared: Shared,
    show: watch::Sender<Arc<Vec<StuckTask>>>,
) {
    let mut watched = JoinSet::new();
    let mut seen = HashSet::new();
    for one in stuck.iter().flat_map(|stuck| &stuck.by) {
        if seen.insert((one.pid, one.birth)) {
            let one = one.clone();
            watched.spawn(async move {
                ganger_process::survivor::ended(&one).await;
                one
            });
        }
    }
    for Stuck { claim, by } in &stuck {
        let text = format!(
            "task {} is not run again while {} of an earlier run may still run it",
            claim.row.id,
            pids_text(by)
        );
        tell(&shared.around.told, of_worker("task.stuck", &place_of(&claim.worker), text));
    }
    show.send_replace(Arc::new(stuck.iter().map(shown).collect()));
    while let Some(ended) = watched.join_next().await {
        let Ok(ended) = ended else { continue };
        for stuck in &mut stuck {
            stuck.by.retain(|one| (one.pid, one.birth) != (ended.pid, ended.birth));
        }
        let free = stuck.extract_if(.., |stuck| stuck.by.is_empty());
        let free: Vec<RunningRow> = free.map(|stuck| stuck.claim).collect();
        show.send_replace(Arc::new(stuck.iter().map(shown).collect()));
        if free.is_empty() {
            continue;
        }
        for claim in &free {
            let text = format!(
                "task {} goes on: pid {}, which may have run it, has ended",
                claim.row.id, ended.pid
            );
            tell(&shared.around.told, of_worker("task.unstuck", &place_of(&claim.worker), text));
        }
        if shared.tell.send(Msg::Worker(gone(free, "ended unseen, in a run before"))).await.is_err()
        {
            // The next daemon settles them.
            return;
        }
    }
}

fn shown(stuck: &Stuck) -> StuckTask {
    StuckTask {
        id: stuck.claim.row.id,
        worker: Arc::clone(&stuck.claim.worker),
        pids: stuck.by.iter().map(|one| one.pid).collect(),
    }
}

fn pids_text(by: &[Survivor]) -> String {
    let pids: Vec<_> = by.iter().map(|one| one.pid.to_string()).collect();
    format!("{} {}", if pids.len() == 1 { "pid" } else { "pids" }, pids.join(", "))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ganger_core::{Priority, SpawnId};
    use ganger_store::ReadyRow;

    use super::*;

    /// Attempt of epoch `epoch` at `worker` in process `pid`.
    fn claim(id: i64, worker: &str, pid: u32, epoch: u32) -> RunningRow {
        let row = ReadyRow {
            id: TaskId::from_raw(id).unwrap(),
            priority: Priority::default(),
            seq: id,
            kind: None,
            payload: Bytes::new(),
            attempt: 1,
            base: 0,
            crashes: 0,
            options: None,
        };
        let token = Token { epoch, counter: id.unsigned_abs() };
        let (claimed_at_ms, started_at_ms) = (1_000, Some(2_000));
        let worker = worker.into();
        let (queue, said) = ("q".into(), None);
        RunningRow { queue, row, token, worker, pid, claimed_at_ms, started_at_ms, said }
    }

    /// Process 7, started by a daemon of epoch 3 for `images#1`, as far as that is known.
    fn survivor(spawn: bool, place: bool) -> Survivor {
        let spawn = spawn.then(|| SpawnId::new(3, 1));
        let instance = place.then(|| InstanceId::new("images", 1));
        Survivor { pid: 7, birth: 1, spawn, instance }
    }

    fn stuck(claim: RunningRow, survivors: &[Survivor], known: &[Known]) -> bool {
        let (rest, stuck) = part(vec![claim], survivors, known, |_| None);
        assert_eq!(rest.len() + stuck.len(), 1);
        !stuck.is_empty()
    }

    #[test]
    fn without_survivors_nothing_is_stuck() {
        assert!(!stuck(claim(1, "images#1", 7, 3), &[], &[]));
    }

    #[test]
    fn a_survivor_holds_what_it_may_run() {
        let whole = [survivor(true, true)];
        for pid in [7, 6, 0] {
            // Its descendants have other numbers, and a buffered claim may have none.
            assert!(stuck(claim(1, "images#1", pid, 3), &whole, &[]), "{pid}");
            assert!(stuck(claim(1, "images#1", pid, 4), &whole, &[]), "claimed by a later daemon");
            assert!(!stuck(claim(1, "images#1", pid, 2), &whole, &[]), "before it was started");
            assert!(!stuck(claim(1, "images#2", pid, 3), &whole, &[]), "another place");
        }
        assert!(stuck(claim(1, "images#2", 0, 3), &[survivor(true, false)], &[]), "whose is it?");
        assert!(stuck(claim(1, "images#2", 0, 1), &[survivor(false, false)], &[]));
    }

    #[test]
    fn what_the_keeper_holds_is_known() {
        let place = InstanceId::new("images", 1);
        let whole = [survivor(true, true)];
        let child = |pid, epoch, task| Known { place: place.clone(), pid, epoch, task };
        assert!(!stuck(claim(1, "images#1", 9, 3), &whole, &[child(9, 5, None)]));
        let token = Token { epoch: 3, counter: 1 };
        assert!(!stuck(claim(1, "images#1", 0, 3), &whole, &[child(8, 5, Some(token))]));
        assert!(stuck(claim(1, "images#1", 7, 3), &whole, &[child(9, 5, None)]), "older than it");
        assert!(stuck(claim(1, "images#1", 7, 4), &whole, &[child(9, 5, None)]), "older than it");
        // The daemon that claimed this ran after the survivor was left.
        assert!(!stuck(claim(1, "images#1", 8, 5), &whole, &[child(9, 5, None)]));
    }

    #[test]
    fn a_process_that_hides_holds_the_claims_of_its_number() {
        let hidden = survivor(false, false);
        let claims = vec![claim(1, "images#1", 7, 3), claim(2, "images#1", 8, 3)];
        let (rest, stuck) = part(claims, &[], &[], |c| (c.pid == 7).then(|| hidden.clone()));
        assert_eq!((rest.len(), rest[0].pid), (1, 8));
        assert_eq!((stuck.len(), stuck[0].claim.pid, stuck[0].by[0].pid), (1, 7, 7));
    }
}
