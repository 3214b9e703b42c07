//! Which figures there are.

use ganger_core::Durability;

use super::args::{Args, What};

/// One figure to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Tasks of a `command` pool, each one process that only exits.
    Spawn,
    /// Tasks a second through a queue of `memory` durability.
    Throughput { worker: String },
    /// Milliseconds from push to result with one task in flight.
    Latency { worker: String, pinned: bool },
    /// Tasks a second through ganger's own echo workers.
    Durability(Durability),
    /// Pushes of one task each, from many connections at once, on an `fsync` queue.
    SinglePushes,
    /// Push, claim and outcome through the store alone.
    StoreCycle,
    /// From a push to the start of its task, with everything idle before.
    IdleStart,
    /// From the moment a schedule's fire is due to the start of its task.
    Fires,
}

/// The one worker kind that is always there: this binary, speaking the envelope on stdin and stdout.
pub(crate) const OWN: &str = "own";

/// The figures of one scene: most are measured unpinned, the pinned scene has latencies only.
pub(crate) fn figures(args: &Args, pinned: bool) -> Vec<Figure> {
    let mut figures = Vec::new();
    if !pinned && args.wants(What::Spawn) && args.own_workers() {
        figures.push(Figure::Spawn);
    }
    if args.wants(What::Dispatch) {
        for worker in workers(args) {
            if !pinned {
                figures.push(Figure::Throughput { worker: worker.clone() });
            }
            figures.push(Figure::Latency { worker, pinned });
        }
    }
    if !pinned && args.wants(What::Queue) && args.own_workers() {
        let kinds = [Durability::Fsync, Durability::Relaxed, Durability::Memory];
        figures.extend(kinds.map(Figure::Durability));
        figures.extend([
            Figure::SinglePushes,
            Figure::StoreCycle,
            Figure::IdleStart,
            Figure::Fires,
        ]);
    }
    figures
}

fn workers(args: &Args) -> Vec<String> {
    let own = args.own_workers().then(|| OWN.to_owned());
    own.into_iter().chain(args.workers().iter().map(|worker| worker.name.clone())).collect()
}
