//! The sender against a receiver of the tests on a real socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::notify::{notification, parsed};
use super::*;
use crate::notify::http::send;
use crate::notify::outbox::{Entry, Outcome};
use crate::notify::webhook::{body, signature};
use crate::notify::{About, Webhook};

fn entry() -> Entry {
    let body = String::from_utf8(body(&notification(), "", 0, |_| About::default())).unwrap();
    let (id, receiver) = ("abc".to_owned(), "ops".to_owned());
    Entry { id, receiver, body, born: START, failures: 0, next: START, error: None }
}

fn webhook(url: String) -> Webhook {
    let (secret, timeout) = (Some("secret".to_owned()), secs(30));
    Webhook { url, secret, allow_local: true, max_alerts: 0, timeout }
}

/// Answers one request with `answer` and returns what it got.
async fn received(listener: TcpListener, answer: String) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut got = Vec::new();
    loop {
        let mut part = [0; 4_096];
        let n = stream.read(&mut part).await.unwrap();
        got.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&got).to_lowercase();
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if n == 0 || rest.len() >= length {
            break;
        }
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(got).unwrap()
}

/// One try against a receiver that answers so.
async fn tried(answer: &str) -> (Outcome, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    let (webhook, entry) = (webhook(url), entry());
    tokio::join!(send(&webhook, &entry, START), received(listener, answer.to_owned()))
}

#[tokio::test]
async fn a_receiver_gets_body_key_and_signature() {
    let (outcome, got) =
        tried("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    assert_eq!(outcome, Outcome::Taken);
    let (head, sent) = got.split_once("\r\n\r\n").unwrap();
    assert_eq!(parsed(sent.as_bytes()), 1);
    let head = head.to_lowercase();
    assert!(head.starts_with("post /hook?x=1 http/1.1"), "{head}");
    let signed = signature(b"secret", START, sent.as_bytes());
    for line in ["idempotency-key: abc", "content-type: application/json", "host: 127.0.0.1:"] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(head.contains(&format!("x-ganger-timestamp: {START}")));
    assert!(head.contains(&format!("x-ganger-signature: {signed}")));
}

#[tokio::test]
async fn answers_say_whether_to_try_again() {
    let answer =
        |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{more}\r\n");
    for (status, more, wait) in [
        ("503 Service Unavailable", "", None),
        ("429 Too Many Requests", "Retry-After: 7\r\n", Some(Duration::from_secs(7))),
        ("429 Too Many Requests", "Retry-After: 99999999\r\n", Some(Duration::from_secs(3_600))),
        ("500 Internal Server Error", "Retry-After: soon\r\n", None),
    ] {
        let (outcome, _) = tried(&answer(status, more)).await;
        assert!(
            matches!(&outcome, Outcome::Again(_, found) if *found == wait),
            "{status} {outcome:?}"
        );
    }
    for status in ["404 Not Found", "400 Bad Request", "302 Found"] {
        let (outcome, _) = tried(&answer(status, "Location: http://127.0.0.1/\r\n")).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{status} {outcome:?}");
    }
    let (outcome, _) = tried("").await;
    assert!(matches!(outcome, Outcome::Again(..)), "closed without an answer: {outcome:?}");
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_local_targets_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut local = webhook(format!("http://{address}/"));
    local.allow_local = false;
    let refused = send(&local, &entry(), START).await;
    assert!(
        matches!(&refused, Outcome::Refused(why) if why.contains("allow_local")),
        "{refused:?}"
    );
    drop(listener);
    let again = send(&webhook(format!("http://{address}/")), &entry(), START).await;
    assert!(matches!(again, Outcome::Again(..)), "{again:?}");
    let https = send(&webhook("https://example.org/".into()), &entry(), START).await;
    assert!(matches!(&https, Outcome::Refused(why) if why.contains("https")), "{https:?}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_costs_its_timeout_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut slow = webhook(format!("http://{}/", listener.local_addr().unwrap()));
    slow.timeout = ganger_core::Dur(Duration::from_millis(50));
    let outcome = send(&slow, &entry(), START).await;
    assert!(matches!(&outcome, Outcome::Again(why, None) if why.contains("50ms")), "{outcome:?}");
}
