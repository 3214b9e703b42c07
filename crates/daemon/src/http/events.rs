//! `GET /events`: what happened, and with `follow` what happens.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use ganger_api::client::EventQuery;
use ganger_api::{ApiError, ErrorKind, EventLine};
use ganger_core::Event;
use ganger_store::{Readers, SqliteReader, StoreError, StoreRead};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::error::Fault;
use super::extract::Params;
use super::sse;
use crate::app::App;

/// Events of the past when nothing is asked for.
const LAST: u32 = 100;
/// Chunks on their way to a listener: it may be slow, and then its teller waits.
const CHUNKS: usize = 4;
/// Rows of one read of the store.
const PAGE: usize = 1_000;

pub(crate) async fn events(
    State(app): State<App>,
    Params(query): Params<EventQuery>,
) -> Result<Response, Fault> {
    let full = app.full()?;
    let permit = app.follower()?;
    // Listening begins before the past is read, so that nothing falls between the two.
    let follow = query.follow;
    let live = query.follow.then(|| full.events.listen());
    let readers = full.readers.clone();
    let first = past(&readers, &query).await?;
    let (chunks, stream) = mpsc::channel(CHUNKS);
    let telling = tokio::spawn(async move {
        let mut teller = Teller { readers, chunks, seq: query.after.unwrap_or(0) };
        if let Err(error) = teller.run(first, query, live).await {
            let mut end = Vec::new();
            sse::write_error(&mut end, &ApiError::from_error(ErrorKind::Failed, &error));
            drop(teller.chunks.send(end.into()).await);
        }
    });
    let closing = follow.then(|| app.closing());
    Ok(sse::answer(ReceiverStream::new(stream), closing, (permit, AbortOnDrop(telling))))
}

/// Ends the teller with its listener.
#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn past(
    readers: &Readers<SqliteReader>,
    query: &EventQuery,
) -> Result<Vec<Event>, StoreError> {
    let limit = usize::try_from(query.limit.unwrap_or(LAST)).unwrap_or(PAGE);
    match query.after {
        Some(after) => readers.run(move |store| store.events(after, PAGE)).await,
        None => readers.run(move |store| store.last_events(limit)).await,
    }
}

#[derive(Debug)]
struct Teller {
    readers: Readers<SqliteReader>,
    chunks: mpsc::Sender<Bytes>,
    /// The last number told.
    seq: u64,
}

impl Teller {
    async fn run(
        &mut self,
        first: Vec<Event>,
        query: EventQuery,
        live: Option<broadcast::Receiver<Arc<Event>>>,
    ) -> Result<(), StoreError> {
        let more = query.after.is_some() && first.len() == PAGE;
        if !self.tell(first).await || (more && !self.catch_up().await?) {
            return Ok(());
        }
        let Some(mut live) = live else { return Ok(()) };
        loop {
            match live.recv().await {
                Ok(event) => {
                    let fresh = event.seq == 0 || event.seq > self.seq;
                    if fresh && !self.tell(vec![Event::clone(&event)]).await {
                        return Ok(());
                    }
                }
                // Too slow for the live stream: the store has it all.
                Err(RecvError::Lagged(_)) => {
                    if !self.catch_up().await? {
                        return Ok(());
                    }
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Tells everything recorded after the last told; false when nobody listens any more.
    async fn catch_up(&mut self) -> Result<bool, StoreError> {
        loop {
            let after = self.seq;
            let page = self.readers.run(move |store| store.events(after, PAGE)).await?;
            let last = page.len() < PAGE;
            if !self.tell(page).await {
                return Ok(false);
            }
            if last {
                return Ok(true);
            }
        }
    }

    async fn tell(&mut self, events: Vec<Event>) -> bool {
        let mut out = Vec::new();
        for event in events {
            let seq = event.seq;
            self.seq = self.seq.max(seq);
            sse::write(&mut out, (seq > 0).then_some(seq), &EventLine::from(event));
        }
        out.is_empty() || self.chunks.send(out.into()).await.is_ok()
    }
}
