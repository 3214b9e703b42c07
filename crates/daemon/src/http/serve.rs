//! The accept loop on the inherited listener: who connects, how many at once, and an orderly end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::peer::Peer;

/// Connections served at once; more wait in the kernel's queue. Far above what people and their scripts open.
const CONNECTIONS_MAX: usize = 4_096;
/// How long open answers may take after the daemon was told to end.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long they may take when the next daemon waits to take over: what takes longer waits for something that this daemon
/// will not see, and is asked again by the client.
pub(crate) const UPGRADE_TIMEOUT: Duration = Duration::from_millis(100);

/// `None` while serving goes on; then how long open answers may take.
pub(crate) type Closing = watch::Receiver<Option<Duration>>;
/// How long others than our own user may hold a connection without asking for anything.
pub(super) const OTHERS_IDLE: Duration = Duration::from_secs(10);
/// After a failed accept (out of descriptors), so that the loop does not spin.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is served to whom.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    /// For the daemon's own user and for root.
    pub(crate) ours: Router,
    /// For everybody else: what policies allow.
    pub(crate) others: Router,
}

/// Makes the inherited descriptor a listener. Must be called within a tokio runtime.
///
/// # Errors
/// It is no listening Unix socket.
pub(crate) fn listener(fd: OwnedFd) -> std::io::Result<UnixListener> {
    let listener = StdListener::from(fd);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Serves until `end` is told, then gives open answers a moment. From then on nobody is accepted: who connects waits for
/// the next daemon in the kernel's queue.
pub(crate) async fn serve(listener: UnixListener, doors: Doors, mut end: Closing) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = told(&mut end) => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let peer = Peer::of(&stream);
                let known = peer.is_some_and(|peer| peer.is_owner());
                let router = if known { doors.ours.clone() } else { doors.others.clone() };
                let idle = (!known).then_some(OTHERS_IDLE);
                let end = end.clone();
                connections.spawn(async move {
                    connection(stream, router, peer, end, idle).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    let patience = end.borrow().unwrap_or(END_TIMEOUT);
    if tokio::time::timeout(patience, all).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &UnixListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// One connection to its end. `idle`: how long its requests may be waited for.
pub(super) async fn connection(
    stream: UnixStream,
    router: Router,
    peer: Option<Peer>,
    mut end: Closing,
    idle: Option<Duration>,
) {
    let router = router.map_request(move |mut request: hyper::Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        request
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // Our own user's kept-alive connection may idle for hours.
        .header_read_timeout(idle)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let done = tokio::select! {
        result = serving.as_mut() => Some(result),
        () = told(&mut end) => None,
    };
    let result = match done {
        Some(result) => result,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        // A client that goes away in the middle is its own business.
        tracing::debug!(%error, "a connection broke");
    }
}

/// Returns when the end is told, or when nobody is left who could.
pub(super) async fn told(end: &mut Closing) {
    drop(end.wait_for(Option::is_some).await);
}
