//! `POST /exec/{policy}`, `POST /exec`: commands under policies. Who asks is who connected.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ganger_api::{
    ApiError, Degraded, ErrorKind, ExecBreach, ExecEnd, ExecLimits, ExecQuery, ExecStart,
    ExecUsage, FRAMES, FrameKind, Seconds, V1, frame,
};
use ganger_core::Stream;
use ganger_exec::{Ask, Ended, Told, Verdict};
use ganger_policy::{BadRequest, Input};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::error::Fault;
use super::extract::{Params, whole};
use super::peer::Peer;
use crate::app::App;

/// Bytes that a request may bring for a standard input: they are held in memory. Larger input belongs into a file.
pub(super) const STDIN_MAX: usize = 16 << 20;
/// Request and input.
pub(super) const BODY_MAX: usize = STDIN_MAX + ganger_policy::REQUEST_BYTES_MAX + 1;
/// The same of others than the daemon's own user: there may be many of them.
pub(super) const OTHERS_BODY_MAX: usize = (1 << 20) + ganger_policy::REQUEST_BYTES_MAX + 1;
/// So long a request of others may take to come: who sends a byte a minute holds a place that others want.
const OTHERS_BODY_TIME: Duration = Duration::from_secs(30);
/// What an answer that is not a stream holds of each output; more is in a stream.
const COLLECTED_MAX: usize = 4 << 20;
/// Between two empty frames of a silent program: what connected may be gone while its process lives.
const STILL_THERE: Duration = Duration::from_secs(10);

pub(crate) async fn by_policy(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(policy): Path<String>,
    Params(query): Params<ExecQuery>,
    request: Request,
) -> Result<Response, Fault> {
    let body = taken(&peer, request).await?;
    let asked = read(&body, |text| ganger_policy::request_under(&policy, text));
    exec(&app, peer, query, policy, asked).await
}

pub(crate) async fn by_request(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Params(query): Params<ExecQuery>,
    request: Request,
) -> Result<Response, Fault> {
    let body = taken(&peer, request).await?;
    let asked = read(&body, ganger_policy::request);
    exec(&app, peer, query, String::new(), asked).await
}

async fn taken(peer: &Peer, request: Request) -> Result<Bytes, Fault> {
    let all = whole(request, &());
    if peer.is_owner() {
        return all.await;
    }
    let late = || ApiError::new(ErrorKind::Timeout, "the request did not come in time");
    tokio::time::timeout(OTHERS_BODY_TIME, all).await.unwrap_or_else(|_| Err(Fault(late())))
}

type Asked = Result<(ganger_policy::Request, Bytes), String>;

/// The JSON, and the bytes behind it if it says that there are some.
fn read(
    body: &Bytes,
    parse: impl Fn(&[u8]) -> Result<ganger_policy::Request, BadRequest>,
) -> Asked {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    let end = match values.next() {
        Some(Ok(_)) => values.byte_offset(),
        // Its own words for what is wrong with it.
        _ => body.len(),
    };
    let request = parse(&body[..end]).map_err(|error| error.to_string())?;
    let rest = body.slice(end..);
    let Input::Bytes(wanted) = request.stdin else {
        let blank = rest.iter().all(u8::is_ascii_whitespace);
        return if blank {
            Ok((request, Bytes::new()))
        } else {
            Err("there is more behind the request, but it says of no bytes for stdin".to_owned())
        };
    };
    let input = rest.strip_prefix(b"\n").map_or(0, <[u8]>::len) as u64;
    if rest.first() != Some(&b'\n') || input != wanted {
        let why = format!(
            "{wanted} bytes of stdin are said to come, behind one newline after the request; {input} came"
        );
        return Err(why);
    }
    Ok((request, rest.slice(1..)))
}

async fn exec(
    app: &App,
    peer: Peer,
    query: ExecQuery,
    policy: String,
    asked: Asked,
) -> Result<Response, Fault> {
    let executor = app.full()?.exec.clone();
    let (request, stdin) = match asked {
        Ok((request, stdin)) => (Ok(request), stdin),
        Err(why) => (Err(why), Bytes::new()),
    };
    let told = executor.run(Ask { caller: peer.caller(), policy, request, stdin }).await;
    if query.stream {
        let frames = Frames { told, gone: Box::pin(peer.gone()), done: false };
        let body = Body::from_stream(futures_util::stream::unfold(frames, Frames::next));
        return Ok(([(header::CONTENT_TYPE, FRAMES)], body).into_response());
    }
    let end = collect(told, peer).await?;
    let status = match end.error.as_ref().map(|error| error.kind) {
        None => StatusCode::OK,
        Some(kind) => {
            StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    let mut response = (status, Json(&end)).into_response();
    if let Some(after) = end.retry_after_s {
        let whole = after.0.ceil() as u64;
        response.headers_mut().insert(header::RETRY_AFTER, whole.into());
    }
    Ok(response)
}

/// What is told, as frames. Dropping it ends the run.
struct Frames {
    told: mpsc::Receiver<Told>,
    /// Whoever connected has ended: one watch for the whole run.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    done: bool,
}

impl Frames {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.done {
            return None;
        }
        let told = tokio::select! {
            biased;
            told = self.told.recv() => told,
            () = &mut self.gone => return None,
            () = tokio::time::sleep(STILL_THERE) => Some(Told::Said(Stream::Stdout, Bytes::new())),
        };
        let bytes = match told {
            Some(Told::Started(started)) => {
                let start = ExecStart {
                    v: V1,
                    run_id: started.run_id.to_string(),
                    rule: started.rule,
                    pid: started.pid,
                };
                frame(FrameKind::Start, &json(&start))
            }
            Some(Told::Said(Stream::Stdout, bytes)) => frame(FrameKind::Stdout, &bytes),
            Some(Told::Said(Stream::Stderr, bytes)) => frame(FrameKind::Stderr, &bytes),
            Some(Told::Ended(ended)) => {
                self.done = true;
                frame(FrameKind::End, &json(&end_of(*ended)))
            }
            // The executor is gone, and so is the daemon soon.
            None => return None,
        };
        Some((Ok(bytes), self))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs are always JSON")
}

async fn collect(mut told: mpsc::Receiver<Told>, peer: Peer) -> Result<ExecEnd, Fault> {
    let (mut stdout, mut stderr, mut cut) = (Vec::new(), Vec::new(), false);
    let mut gone = pin!(peer.gone());
    loop {
        let next = tokio::select! {
            biased;
            next = told.recv() => next,
            () = &mut gone => None,
        };
        match next {
            Some(Told::Started(_)) => {}
            Some(Told::Said(stream, bytes)) => {
                let kept = match stream {
                    Stream::Stdout => &mut stdout,
                    Stream::Stderr => &mut stderr,
                };
                let room = COLLECTED_MAX - kept.len();
                cut |= bytes.len() > room;
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Some(Told::Ended(ended)) => {
                let mut end = end_of(*ended);
                if end.exit.is_some() {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    (end.stdout, end.stderr) = (Some(text(stdout)), Some(text(stderr)));
                    end.output_cut |= cut;
                }
                return Ok(end);
            }
            None => {
                let error = ApiError::new(ErrorKind::NoDaemon, "the daemon is going down");
                return Err(Fault(error.hint("`ganger audit tail` tells how the run ended")));
            }
        }
    }
}

/// As it goes over the wire.
fn end_of(ended: Ended) -> ExecEnd {
    let error = match ended.verdict {
        Verdict::Allowed => None,
        Verdict::Denied => Some(ErrorKind::Denied),
        Verdict::Limited => Some(ErrorKind::Full),
        Verdict::Failed => Some(ErrorKind::NoDaemon),
    };
    let error = error.map(|kind| {
        let mut error = ApiError::new(kind, ended.reason.clone());
        error.retry_after_s = ended.retry_after.map(|after| after.as_secs_f64().ceil() as u64);
        error
    });
    let micros = |us: u64| Seconds::from(Duration::from_micros(us));
    let limits = ended.limits;
    ExecEnd {
        v: V1,
        run_id: ended.run_id.to_string(),
        verdict: ended.verdict.as_str().to_owned(),
        rule: ended.rule,
        reason: ended.reason,
        code: ended.code,
        argument: ended.argument,
        allow: ended.allow,
        retry_after_s: ended.retry_after.map(Seconds::from),
        exit: ended.end.as_ref().map(ganger_core::End::shell_code),
        limits: ExecLimits {
            wall_ms: limits.wall_ms,
            cpu_ms: limits.cpu_ms,
            cpu_milli: limits.cpu_milli,
            memory: limits.memory,
            pids: limits.pids,
            files: limits.files,
            file_size: limits.file_size,
            disk: limits.disk,
            output: limits.output,
        },
        breach: ended.breach.map(|breach| ExecBreach {
            limit: breach.limit,
            allowed: breach.allowed,
            peak: breach.peak,
        }),
        layers: ended.layers,
        left_out: ended.left_out,
        degraded: ended
            .degraded
            .into_iter()
            .map(|one| Degraded { what: one.what, why: one.why, fix: one.fix })
            .collect(),
        usage: ended.end.map(|_| ExecUsage {
            wall_s: micros(ended.usage.wall_us),
            user_s: micros(ended.usage.user_us),
            system_s: micros(ended.usage.system_us),
            memory_peak: ended.usage.memory_peak,
            output: ended.usage.output,
        }),
        stdout: None,
        stderr: None,
        output_cut: ended.output_cut,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &[u8]) -> Asked {
        read(&Bytes::copy_from_slice(text), |text| ganger_policy::request_under("p", text))
    }

    #[test]
    fn input_comes_behind_one_newline_and_is_counted() {
        let (request, stdin) = asked(b"{\"args\":[\"a\"],\"stdin\":{\"bytes\":3}}\n\nab").unwrap();
        assert_eq!((request.args, &stdin[..]), (vec![b"a".to_vec()], &b"\nab"[..]));
        assert!(asked(b"{\"args\":[\n\"a\"]}\n").unwrap().1.is_empty());
        for wrong in [
            &b"{\"stdin\":{\"bytes\":3}}\nab"[..],
            b"{\"stdin\":{\"bytes\":3}}\nabcd",
            b"{\"stdin\":{\"bytes\":0}}",
            b"{} x",
            b"{}{}",
            b"{\"policy\":\"other\"}",
            b"{\"args\":[],\"args\":[]}",
            b"",
        ] {
            assert!(asked(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
