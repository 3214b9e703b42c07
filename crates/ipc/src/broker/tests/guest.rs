//! A pool's worker as a peer: lines in, lines out, beside a service with a socket of its own.

use ganger_core::InstanceId;
use serde_json::{Value, json};

use super::channel::{exchange, open};
use crate::broker::{Answer, Code, Exchange, Guest, LineHandle, refuse_word, seal};
use crate::node::HandleType;

fn guest(exchange: &Exchange) -> Guest {
    exchange.guest(InstanceId::new("images", 1), false)
}

fn hear(guest: &mut Guest, words: &Value) -> Result<(), String> {
    guest.hear(words.to_string().as_bytes())
}

/// The next lines for its link.
async fn lines(guest: &mut Guest) -> Vec<Value> {
    loop {
        let lines = guest.next(true).await.expect("the exchange is there");
        if !lines.is_empty() {
            assert!(lines.ends_with(b"\n"));
            let lines = std::str::from_utf8(&lines).unwrap().lines();
            return lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        }
    }
}

async fn line(guest: &mut Guest) -> Value {
    lines(guest).await.remove(0)
}

/// Its news are told, and the exchange has them.
async fn told(exchange: &Exchange, guest: &mut Guest) {
    assert_eq!(guest.next(false).await, Some(vec![]));
    let _ = exchange.counts().await.unwrap();
}

async fn call(exchange: &Exchange, to: &str) -> Answer<std::sync::Arc<std::os::fd::OwnedFd>> {
    exchange.call(to.into(), "k", "1".into(), None).await.unwrap()
}

#[tokio::test]
async fn it_is_asked_when_it_is_ready_and_its_last_words_count() {
    let exchange = exchange();
    let mut guest = guest(&exchange);
    told(&exchange, &mut guest).await;
    assert!(matches!(call(&exchange, "images").await, Answer::Ours(Code::Nobody, _)));
    guest.show(true, 0);
    told(&exchange, &mut guest).await;
    let asker = exchange.clone();
    let answer = tokio::spawn(async move { call(&asker, "images").await });
    let request = line(&mut guest).await;
    assert_eq!((&request["from"], &request["payload"]), (&json!("api"), &json!(1)));
    hear(&mut guest, &json!({"id": request["id"], "$g": "response", "result": [2]})).unwrap();
    assert!(guest.is_behind());
    drop(guest);
    let Ok(Answer::Result(cargo)) = answer.await else { panic!("no result") };
    assert_eq!(cargo.payload.as_deref(), Some("[2]"));
    assert!(matches!(call(&exchange, "images#1").await, Answer::Ours(Code::Nobody, _)));
}

#[tokio::test]
async fn what_others_send_as_memory_comes_in_the_line_and_the_rest_is_refused() {
    let exchange = exchange();
    let (mut web, _line): (_, LineHandle) = open(&exchange, "web", false).await;
    let mut guest = guest(&exchange);
    guest.show(true, 0);
    told(&exchange, &mut guest).await;
    let text = json!("x".repeat(2_000_000)).to_string();
    let body = json!({"size": text.len(), "is": "payload"});
    let request = json!({"$g": "request", "id": 1, "to": "images", "kind": "big", "body": body});
    web.hand(request, HandleType::Memfd, seal(text.as_bytes()).unwrap());
    let request = line(&mut guest).await;
    assert_eq!(request["payload"].as_str().unwrap().len(), 2_000_000);
    // Bytes beside a payload can't come, and whoever sent them is told.
    let body = json!({"size": 3, "is": "bytes"});
    let request = json!({"$g": "request", "id": 2, "to": "images", "kind": "bytes", "body": body});
    web.hand(request, HandleType::Memfd, seal(b"abc").unwrap());
    tokio::select! {
        answer = web.word("response") => {
            assert_eq!((&answer["id"], &answer["code"]), (&json!(2), &json!("too_large")));
        }
        lines = lines(&mut guest) => panic!("{lines:?}"),
    }
    // Nor does it send any.
    let body = json!({"size": 3, "is": "bytes", "fd": 5});
    let request = json!({"$g": "request", "id": "a", "to": "web", "kind": "k", "body": body});
    assert!(hear(&mut guest, &request).unwrap_err().contains("no descriptors"));
    let answers = lines(&mut guest).await;
    assert_eq!((&answers[0]["id"], &answers[0]["code"]), (&json!("a"), &json!("too_large")));
    assert_eq!(answers[1]["$g"], "refused");
}

#[tokio::test]
async fn without_room_nothing_is_given_and_what_is_said_goes_on() {
    let exchange = exchange();
    let mut guest = guest(&exchange);
    hear(&mut guest, &json!({"$g": "subscribe", "topic": "t.*"})).unwrap();
    told(&exchange, &mut guest).await;
    assert_eq!(exchange.publish("t.1", "1".into()).await.unwrap(), 1);
    hear(&mut guest, &json!({"$g": "publish", "topic": "t.2", "payload": 2})).unwrap();
    told(&exchange, &mut guest).await;
    tokio::select! {
        biased;
        lines = guest.next(false) => panic!("{lines:?}"),
        () = std::future::ready(()) => {}
    }
    let mut heard = vec![];
    while heard.len() < 2 {
        heard.extend(lines(&mut guest).await.into_iter().map(|line| line["topic"].clone()));
    }
    assert_eq!(heard, [json!("t.1"), json!("t.2")]);
    // What makes no sense is refused, and so much of it only.
    for _ in 0..10_000 {
        if guest.is_behind() {
            break;
        }
        assert!(hear(&mut guest, &json!({"$g": "sing"})).unwrap_err().contains("sing"));
    }
    assert!(guest.is_behind());
    assert_eq!(line(&mut guest).await["$g"], "refused");
    assert!(!guest.is_behind());
}

#[test]
fn a_worker_without_peers_is_told_so() {
    let mut out = vec![];
    let why = refuse_word(br#"{"$g":"request","id":7,"to":"web"}"#, &mut out);
    let answer: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&answer["id"], &answer["code"]), (&json!(7), &json!("nobody")));
    assert!(why.contains("channel = true"));
    out.clear();
    refuse_word(br#"{"$g":"publish","topic":"t"}"#, &mut out);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["$g"], "refused");
}
