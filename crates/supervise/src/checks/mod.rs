//! Asking a process whether it works: by TCP, HTTP or a program of its own.
//!
//! An `Asker` asks one question again and again, one at a time; `live` and `ready` decide what the
//! answers mean. An answer is good, bad, or none: a check that could not be carried out here says nothing about the
//! process and is never held against it.

pub mod exec;
mod http;
mod tcp;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::Dur;
use ganger_keeper::wire::Plan;
use tokio::time::{Instant, sleep_until, timeout};

use crate::spec::{ExecCheck, HttpCheck};
use exec::Execs;
pub(crate) use tcp::address as tcp_address;

/// Why an answer is not a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It does not work, and how that was seen.
    No(String),
    /// It could not be asked.
    Unasked(String),
}

impl Bad {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::No(why) | Self::Unasked(why) => why,
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Check {
    Tcp(String),
    Http(HttpCheck),
    /// The whole plan of the program, and who runs it.
    Exec(Box<Plan>, Execs),
}

impl Check {
    /// A program that runs as `plan` does.
    pub(crate) fn exec(check: &ExecCheck, plan: &Plan, main: u32, execs: Execs) -> Self {
        Self::Exec(Box::new(exec::plan(check, plan, main)), execs)
    }

    /// Asks once; an answer later than `limit` is none.
    async fn ask(&self, limit: Duration) -> Result<(), Bad> {
        let late = |what: &dyn std::fmt::Display| {
            Err(Bad::No(format!("no answer from {what} in {}", Dur(limit))))
        };
        match self {
            Self::Tcp(address) => match timeout(limit, tcp::connect(address)).await {
                Ok(answer) => answer.map_err(Bad::No),
                Err(_) => late(&crate::spec::short(address)),
            },
            Self::Http(check) => match timeout(limit, http::get(check)).await {
                Ok(answer) => answer.map_err(Bad::No),
                Err(_) => late(check),
            },
            // Its time begins with its process, so its runner keeps it.
            Self::Exec(plan, execs) => execs.run(plan.as_ref().clone(), limit).await,
        }
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) result: Result<(), Bad>,
    /// When the question was asked.
    pub(crate) begun: Instant,
    /// How long the answer took.
    pub(crate) took: Duration,
}

type Asking = Pin<Box<dyn Future<Output = Result<(), Bad>> + Send>>;

/// One question, asked at set times.
pub(crate) struct Asker {
    check: Arc<Check>,
    limit: Duration,
    next: Instant,
    asking: Option<(Instant, Asking)>,
}

impl Asker {
    /// Asks first at `first`; an answer that takes longer than `limit` is a bad one.
    pub(crate) fn new(check: Check, limit: Duration, first: Instant) -> Self {
        Self { check: Arc::new(check), limit, next: first, asking: None }
    }

    /// When to ask again.
    pub(crate) const fn again(&mut self, at: Instant) {
        self.next = at;
    }

    /// The next answer.
    ///
    /// # Cancel safety
    /// Safe: a question under way is kept.
    pub(crate) async fn next(&mut self) -> Answer {
        if self.asking.is_none() {
            sleep_until(self.next).await;
        }
        let (begun, asking) = self.asking.get_or_insert_with(|| {
            let (check, limit) = (Arc::clone(&self.check), self.limit);
            (Instant::now(), Box::pin(async move { check.ask(limit).await }))
        });
        let (result, begun) = (asking.await, *begun);
        self.asking = None;
        Answer { result, begun, took: begun.elapsed() }
    }
}
