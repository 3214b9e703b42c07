//! The thread on which connections are handed over.
//!
//! ```text
//! sockets and channels ──► wait ──► a pass: all that came is read, accepted and written ──┐
//!                           ▲                                                             │
//!                           ├───────────────────────── one by one ◄───────────────────────┤
//!                           └── REST ◄────────────────── a rush ◄─────────────────────────┘
//! ```
//!
//! A connection is an `accept4`, a `sendmsg`, a `close` and a share of a read. The daemon's own threads wake each other and
//! steal each other's work, which would be a large part of that; this thread waits in its own epoll, and nothing else does.
//!
//! What is left then is that it sleeps and is woken for each connection, and again for each answer. So while connections come several at a time
//! it rests a moment between two passes, as network cards moderate their interrupts: several are accepted in one pass, a worker
//! gets several before it runs, and nobody who connects or answers has to wake anybody. The price is that much latency, for those
//! who come with others; one connection after another never waits for it. Where even after that all workers still have connections that
//! they have not taken, they are what everybody waits for, and it rests longer: they get the processor that it does not take.
//!
//! There is no thread before the first owner.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ganger_ipc::node::primary::{Came, Pass};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Between two passes of a rush: long beside what a wake-up costs (5 to 10 µs), short beside the milliseconds that requests wait for each other when a
/// worker has several.
const REST: Duration = Duration::from_micros(300);

/// The same while all workers are behind: short beside the time that a connection waits for them then, which is several of their requests.
const LONG_REST: Duration = Duration::from_millis(1);

/// So many in one pass begin a rush. Two clients that ask without a pause meet in one pass all the time, and would only wait.
const SEVERAL: u32 = 3;

/// A rush is over after so many passes in a row with fewer: 1.2 ms.
const CALM: u32 = 4;

/// Ends with its last owner's future dropped when this is.
#[derive(Debug)]
pub(super) struct Lane {
    runtime: Handle,
    came: Came,
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Lane {
    /// Starts the thread. Where there is none to be had, owners run on the threads of the caller's runtime.
    pub(super) fn start() -> Self {
        let came = Came::default();
        match run(came.clone()) {
            Ok((runtime, stop, thread)) => Self { runtime, came, thread: Some((stop, thread)) },
            Err(error) => {
                tracing::warn!(%error, "no thread for connections: they are handed over by the daemon's own");
                Self { runtime: Handle::current(), came, thread: None }
            }
        }
    }

    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Where its owners count.
    pub(super) fn came(&self) -> Came {
        self.came.clone()
    }
}

/// The runtime of a new thread, and what ends it when it is dropped. The thread makes it and drops it: an asynchronous context may not.
fn run(came: Came) -> io::Result<(Handle, oneshot::Sender<()>, JoinHandle<()>)> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let (stop, stopped) = oneshot::channel();
    let rush = Rush::default();
    let rest = move || {
        if let Some(rest) = rush.rest(came.take()) {
            thread::sleep(rest);
        }
    };
    let thread = thread::Builder::new().name("connections".to_owned()).spawn(move || {
        match Builder::new_current_thread().enable_all().on_thread_park(rest).build() {
            Ok(runtime) => {
                let _heard = tell.send(Ok(runtime.handle().clone()));
                // Its sender's drop is the word to stop.
                let _dropped: Result<(), _> = runtime.block_on(stopped);
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    })?;
    let runtime = told.recv().map_err(io::Error::other)??;
    Ok((runtime, stop, thread))
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            // Its tasks wait for nobody between two awaits: this is a pass and a rest at most.
            let _broke = thread.join();
        }
    }
}

/// Whether connections come faster than one at a time.
#[derive(Debug, Default)]
struct Rush(AtomicU32);

impl Rush {
    /// How long to rest after a pass, if at all. Only one thread asks: the number is atomic because a hook of the runtime is shared.
    fn rest(&self, Pass { accepted, behind }: Pass) -> Option<Duration> {
        let left = match accepted {
            SEVERAL.. => CALM,
            _ => self.0.load(Ordering::Relaxed).saturating_sub(1),
        };
        self.0.store(left, Ordering::Relaxed);
        (left > 0).then_some(if behind { LONG_REST } else { REST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_begins_with_several_and_ends_with_a_row_of_few() {
        let rush = Rush::default();
        let pass = |accepted, behind| Pass { accepted, behind };
        for few in [0, 1, 2, 1, 2] {
            assert_eq!(rush.rest(pass(few, true)), None);
        }
        let seen = [3, 2, 0, 1, 2, 9, 1, 3, 0, 0, 0, 0, 2]
            .map(|came| rush.rest(pass(came, false)) == Some(REST));
        let (yes, no) = (true, false);
        assert_eq!(seen, [yes, yes, yes, yes, no, yes, yes, yes, yes, yes, yes, no, no]);
        assert_eq!(rush.rest(pass(5, true)), Some(LONG_REST));
    }

    #[tokio::test]
    async fn what_runs_there_ends_with_it() {
        let lane = Lane::start();
        let here = || thread::current().name().map(str::to_owned);
        let name = lane.runtime().spawn(async move { here() }).await.unwrap();
        assert_eq!(name.as_deref(), Some("connections"));
        let (held, mut given_up) = oneshot::channel::<()>();
        let (running, runs) = oneshot::channel();
        lane.runtime().spawn(async move {
            let _held = held;
            let _heard = running.send(());
            std::future::pending::<()>().await;
        });
        runs.await.unwrap();
        assert_eq!(given_up.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(lane);
        assert_eq!(given_up.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
