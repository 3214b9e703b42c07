//! Running a job's operators on this machine's processors: one thread a slot, each asks for the next split when it has
//! none. Slots share nothing but the number of the next split.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::input::{Block, Blocks, InputError, Splits};

/// Feeds every block of every split to one of `slots`, and gives them back. Which slot gets what is left to chance, so what
/// they hold must be such that it does not matter.
///
/// # Errors
/// The failure in the split with the lowest number; other slots stop at their next block.
pub fn each_block<S, E>(
    splits: &Splits,
    slots: Vec<S>,
    step: impl Fn(&mut S, Block<'_>) -> Result<(), E> + Sync,
) -> Result<Vec<S>, E>
where
    S: Send,
    E: From<InputError> + Send,
{
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(u64::MAX);
    let one = |mut slot: S| {
        let mut buffer = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(split) = splits.get(number) else { return Ok(slot) };
            let mut blocks = Blocks::of_split(splits, split, buffer);
            loop {
                // A split before the one that failed goes on: its failure would be the one that is told.
                if failed.load(Ordering::Relaxed) < number {
                    return Ok(slot);
                }
                let stepped = match blocks.read() {
                    Ok(None) => break,
                    Ok(Some(block)) => step(&mut slot, block),
                    Err(error) => Err(error.into()),
                };
                if let Err(error) = stepped {
                    failed.fetch_min(number, Ordering::Relaxed);
                    return Err((number, error));
                }
            }
            buffer = blocks.into_buffer();
        }
    };
    let ended: Vec<Result<S, (u64, E)>> = thread::scope(|scope| {
        let threads: Vec<_> = slots.into_iter().map(|slot| scope.spawn(|| one(slot))).collect();
        threads.into_iter().map(joined).collect()
    });
    let mut kept = Vec::with_capacity(ended.len());
    let mut first: Option<(u64, E)> = None;
    for end in ended {
        match end {
            Ok(slot) => kept.push(slot),
            Err(error) if first.as_ref().is_none_or(|(number, _)| error.0 < *number) => {
                first = Some(error);
            }
            Err(_) => {}
        }
    }
    first.map_or(Ok(kept), |(_, error)| Err(error))
}

/// Does `work` with each of `slots` at the same time.
pub fn at_once<S: Send, T: Send>(slots: Vec<S>, work: impl Fn(S) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> =
            slots.into_iter().map(|slot| scope.spawn(move || work(slot))).collect();
        threads.into_iter().map(joined).collect()
    })
}

/// What a thread made; its panic goes on in this one.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests;
