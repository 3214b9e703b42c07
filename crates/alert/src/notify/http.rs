//! One POST to a receiver. Plain HTTP only: see `docs/design/014-alert.md` for why, and what to do about https.
//!
//! A name is looked up once, every address is judged, and the connection goes to the address that was judged: a name that changes its address
//! in between leads nowhere else. Redirects are not followed, for the same reason. Nothing of the answer but its status is used.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Webhook;
use super::outbox::{Entry, Outcome};
use super::webhook::signature;
use crate::values::Time;

/// Longest wait that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Tries once. Cancel safe: the entry goes again when the future is dropped and [`super::Outbox`] is loaded anew.
pub async fn send(webhook: &Webhook, entry: &Entry, now: Time) -> Outcome {
    let target = match Target::of(&webhook.url) {
        Ok(target) => target,
        Err(why) => return Outcome::Refused(why),
    };
    match tokio::time::timeout(webhook.timeout.0, attempt(webhook, &target, entry, now)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let Target { host, port, .. } = &target;
            Outcome::Again(format!("{host}:{port}: no answer within {}", webhook.timeout), None)
        }
    }
}

/// Whether anything can be sent there at all.
///
/// # Errors
/// Why not: no URL, another scheme than `http`, a password in it, an address of this machine that is not allowed. What a name leads to
/// is known only when something is sent.
pub fn check(webhook: &Webhook) -> Result<(), String> {
    let host = Target::of(&webhook.url)?.host;
    let ip = if host == "localhost" { Ok(Ipv4Addr::LOCALHOST.into()) } else { host.parse() };
    ip.map_or(Ok(()), |ip| allowed(webhook, &host, ip))
}

fn allowed(webhook: &Webhook, host: &str, ip: IpAddr) -> Result<(), String> {
    if webhook.allow_local || !is_local(ip) {
        return Ok(());
    }
    let host = if host == ip.to_string() { host.to_owned() } else { format!("{host} ({ip})") };
    Err(format!(
        "{host} is an address of this machine or its link; set allow_local = true if that is meant"
    ))
}

struct Target {
    host: String,
    port: u16,
    path: String,
    authority: String,
}

impl Target {
    fn of(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{url}: not a URL: {e}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(format!(
                    "{url}: https is not built in; use an exec receiver with curl, or a proxy on this machine"
                ));
            }
            _ => return Err(format!("{url}: must begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| format!("{url}: names no host"))?;
        if authority.as_str().contains('@') {
            return Err(
                "a URL with a password in it is not used: it would stand in logs".to_owned()
            );
        }
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or("/".to_owned(), ToString::to_string),
            authority: authority.to_string(),
        })
    }
}

async fn attempt(webhook: &Webhook, target: &Target, entry: &Entry, now: Time) -> Outcome {
    let address = match address(webhook, target).await {
        Ok(address) => address,
        Err(outcome) => return outcome,
    };
    let again = |e: &dyn std::fmt::Display| Outcome::Again(format!("{address}: {e}"), None);
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(e) => return again(&e),
    };
    let request = match request(webhook, target, entry, now) {
        Ok(request) => request,
        Err(e) => return Outcome::Refused(format!("{}: {e}", webhook.url)),
    };
    let (mut sender, connection) =
        match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
            Ok(both) => both,
            Err(e) => return again(&e),
        };
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection is driven here and ends here: no task is left behind. It may end in the same moment as it brings the answer.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    match answer {
        Ok(answer) => judged(&answer, address),
        Err(e) => again(&e),
    }
}

/// The address to connect to, judged.
async fn address(webhook: &Webhook, target: &Target) -> Result<SocketAddr, Outcome> {
    let Target { host, port, .. } = target;
    let found = tokio::net::lookup_host((host.as_str(), *port)).await;
    let found = found.map_err(|e| Outcome::Again(format!("{host}: {e}"), None))?;
    let mut refused = None;
    for address in found {
        match allowed(webhook, host, address.ip()) {
            Ok(()) => return Ok(address),
            Err(why) => refused = Some(why),
        }
    }
    Err(match refused {
        Some(why) => Outcome::Refused(why),
        None => Outcome::Again(format!("{host}: has no address"), None),
    })
}

/// Addresses that reach this machine or what only it can see: loopback, link-local (cloud metadata among them), unspecified, multicast.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            // ::ffff:127.0.0.1 and ::127.0.0.1 are 127.0.0.1.
            let inner = v6.to_ipv4().is_some_and(|v4| is_local(IpAddr::V4(v4)));
            inner
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
        }
    }
}

fn request(
    webhook: &Webhook,
    target: &Target,
    entry: &Entry,
    now: Time,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::post(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, concat!("ganger/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", &entry.id)
        .header("X-Ganger-Timestamp", now.to_string());
    if let Some(secret) = &webhook.secret {
        let signature = signature(secret.as_bytes(), now, entry.body.as_bytes());
        request = request.header("X-Ganger-Signature", signature);
    }
    request.body(Full::new(Bytes::from(entry.body.clone())))
}

fn judged<B>(answer: &Response<B>, address: SocketAddr) -> Outcome {
    let status = answer.status();
    if status.is_success() {
        return Outcome::Taken;
    }
    let why = format!("{address} answered {status}");
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if !status.is_server_error() && !later.contains(&status) {
        return Outcome::Refused(why);
    }
    let seconds =
        answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Outcome::Again(why, seconds.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_in_all_their_forms() {
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "224.0.0.1",
            "ff02::1",
        ] {
            assert!(is_local(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["10.0.0.1", "192.168.1.1", "93.184.216.34", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_local(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn urls_that_are_not_used() {
        for url in ["https://a/", "ftp://a/", "/only/a/path", "http://user:secret@a/", "http://"] {
            assert!(Target::of(url).is_err(), "{url}");
        }
        let target = Target::of("http://[2001:db8::1]:9000/hook?a=b").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("2001:db8::1", 9_000));
        assert_eq!(target.path, "/hook?a=b");
    }
}
