//! Two processes and the exchange, with real sockets: the far ends speak Node's framing as a process would.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::Poll;

use ganger_core::InstanceId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::broker::{Exchange, LineHandle, LineSign, Opening, seal, start};
use crate::node::channel::SharedFd;
use crate::node::{Event, HandleOut, HandleType, Kind, NodeChannel};

/// A process's end: a task that writes what it is given and reads ahead a little.
pub(super) struct Far {
    say: mpsc::UnboundedSender<(Value, Option<HandleOut<SharedFd>>)>,
    heard: mpsc::Receiver<(Value, Option<(HandleType, SharedFd)>)>,
}

impl Far {
    fn new(socket: UnixStream, ahead: usize) -> Self {
        let mut channel = NodeChannel::from_socket(socket.into()).unwrap();
        let (say, mut said) = mpsc::unbounded_channel::<(Value, Option<HandleOut<SharedFd>>)>();
        let (tell, heard) = mpsc::channel(ahead);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    said = said.recv() => match said {
                        Some((message, None)) => channel.send(message.to_string().into_bytes()).unwrap(),
                        Some((message, Some(handle))) => {
                            channel.send_handle(message.to_string().as_bytes(), handle).unwrap();
                        }
                        None => break,
                    },
                    next = channel.next() => match next.unwrap() {
                        Some(Ok(Event::Message { kind: Kind::User, body, handle })) => {
                            let value = serde_json::from_slice(&body).unwrap();
                            let handle = handle.map(|handle| (handle.is, handle.fd));
                            if tell.send((value, handle)).await.is_err() {
                                break;
                            }
                        }
                        Some(Ok(Event::Message { .. } | Event::Delivered(_))) => {}
                        other => panic!("{other:?}"),
                    },
                }
            }
            // What was said last is written.
            std::future::poll_fn(|cx| {
                let _heard_too_late = channel.poll_next(cx);
                Poll::Ready(())
            })
            .await;
        });
        Self { say, heard }
    }

    pub(super) fn say(&self, message: Value) {
        self.say.send((message, None)).unwrap();
    }

    pub(super) fn hand(&self, message: Value, is: HandleType, fd: OwnedFd) {
        self.say.send((message, Some(HandleOut::new(is, Arc::new(fd))))).unwrap();
    }

    /// The next message and what it brought.
    async fn hear(&mut self) -> (Value, Option<(HandleType, SharedFd)>) {
        self.heard.recv().await.expect("the channel is open")
    }

    /// The next request of a kind, others skipped.
    async fn asked(&mut self, kind: &str) -> (Value, Option<(HandleType, SharedFd)>) {
        loop {
            let heard = self.hear().await;
            if heard.0["kind"] == kind {
                return heard;
            }
        }
    }

    pub(super) async fn word(&mut self, word: &str) -> Value {
        let (value, _) = self.hear().await;
        assert_eq!(value["$g"], word, "{value}");
        value
    }
}

pub(super) async fn open(exchange: &Exchange, name: &str, adopted: bool) -> (Far, LineHandle) {
    // A slow one does not read ahead.
    let ahead = if name == "slow" { 1 } else { 256 };
    let (near, far) = UnixStream::pair().unwrap();
    let opening = Opening {
        instance: InstanceId::new(name, 1),
        pid: std::process::id(),
        fd: near.into(),
        speaks: true,
        adopted,
    };
    let line = exchange.open(opening).await.unwrap();
    line.show(true);
    (Far::new(far, ahead), line)
}

pub(super) fn exchange() -> Exchange {
    let (exchange, owner) = start(7);
    tokio::spawn(owner);
    exchange
}

/// Waits until what both have said is with the broker, readiness included.
async fn settle(exchange: &Exchange, far: &mut Far, to: &str) {
    loop {
        far.say(json!({"$g": "request", "id": "settle", "to": to, "timeout_ms": 0}));
        let answer = far.word("response").await;
        if answer["code"] == "deadline" {
            return;
        }
        let _ = exchange.counts().await.unwrap();
    }
}

#[tokio::test]
async fn one_asks_another_and_hears_of_its_death() {
    let exchange = exchange();
    let (mut web, mut line) = open(&exchange, "web", false).await;
    let (mut images, images_line) = open(&exchange, "images", false).await;
    settle(&exchange, &mut web, "images").await;
    web.say(
        json!({"$g": "request", "id": 1, "to": "images", "kind": "resize", "payload": {"w": 3}}),
    );
    let (request, _) = images.asked("resize").await;
    assert_eq!((&request["from"], &request["payload"]["w"]), (&json!("web#1"), &json!(3)));
    images.say(json!({"$g": "response", "id": request["id"], "result": [1]}));
    assert_eq!(web.word("response").await, json!({"$g": "response", "id": 1, "result": [1]}));
    // A broken word is refused by name, to it and to its holder, and the channel goes on.
    web.say(json!({"$g": "sing"}));
    assert!(web.word("refused").await["error"]["message"].as_str().unwrap().contains("sing"));
    let Some(LineSign::Refused(why)) = line.next().await else { panic!("not told") };
    assert!(why.contains("sing"));
    web.say(json!("ready"));
    assert_eq!(line.next().await, Some(LineSign::Ready));
    web.say(json!({"$g": "request", "id": 2, "to": "images", "kind": "long"}));
    images.asked("long").await;
    drop(images);
    let gone = web.word("response").await;
    assert_eq!((&gone["id"], &gone["code"]), (&json!(2), &json!("gone")));
    drop(images_line);
    let answer = exchange.call("nobody".into(), "", "1".into(), None).await.unwrap();
    assert!(matches!(answer, crate::broker::Answer::Ours(crate::broker::Code::Nobody, _)));
}

#[tokio::test]
async fn last_words_of_a_process_count() {
    let exchange = exchange();
    let (mut web, _line) = open(&exchange, "web", false).await;
    let (mut images, line) = open(&exchange, "images", false).await;
    settle(&exchange, &mut web, "images").await;
    web.say(json!({"$g": "request", "id": 1, "to": "images", "kind": "last"}));
    let (request, _) = images.asked("last").await;
    images.say(json!({"$g": "response", "id": request["id"], "result": "bye"}));
    drop(images);
    line.over();
    assert_eq!(web.word("response").await["result"], "bye");
}

#[tokio::test]
async fn bodies_travel_as_each_takes_them() {
    let exchange = exchange();
    let (mut web, _web) = open(&exchange, "web", false).await;
    let (mut images, _images) = open(&exchange, "images", false).await;
    settle(&exchange, &mut web, "images").await;
    let text = serde_json::to_string(&"x".repeat(3 << 20)).unwrap();
    let size = text.len();
    let body = json!({"size": size, "is": "payload"});
    for way in ["none", "fd", "path"] {
        images.say(json!({"$hello": {"bodies": way}}));
        images.say(json!({"$g": "subscribe", "topic": way}));
        let request =
            json!({"$g": "request", "id": way, "to": "images", "kind": way, "body": body});
        // The subscription shows that the hello was read before.
        while exchange.publish(way, "1".into()).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        web.hand(request, HandleType::Memfd, seal(text.as_bytes()).unwrap());
        let (request, handle) = images.asked(way).await;
        let got = match (way, handle) {
            ("none", None) => request["payload"].to_string(),
            ("fd", Some((HandleType::Memfd, fd))) => {
                super::super::body::check(&*fd, size as u64).unwrap();
                let bytes = super::super::body::read(&fd, size as u64).unwrap();
                String::from_utf8(bytes).unwrap()
            }
            ("path", None) => {
                let path = request["body"]["path"].as_str().unwrap();
                std::fs::read_to_string(path).unwrap()
            }
            other => panic!("{other:?}"),
        };
        assert!(got == text, "{way}");
        images.say(json!({"$g": "response", "id": request["id"], "result": way}));
        let answer = web.word("response").await;
        assert_eq!(answer["result"], way);
    }
    // Memory that its sender can still change is not taken, and the request has its answer.
    let request = json!({"$g": "request", "id": 9, "to": "images", "body": body});
    web.hand(request, HandleType::Memfd, std::fs::File::open("/dev/null").unwrap().into());
    assert_eq!(web.word("response").await["code"], "too_large");
}

#[tokio::test]
async fn a_socket_is_handed_from_one_to_the_other() {
    let exchange = exchange();
    let (mut web, _web) = open(&exchange, "web", false).await;
    let (mut images, _images) = open(&exchange, "images", false).await;
    settle(&exchange, &mut web, "images").await;
    let (mut mine, theirs) = UnixStream::pair().unwrap();
    let request = json!({"$g": "request", "id": 1, "to": "images", "kind": "take"});
    web.hand(request, HandleType::Socket, theirs.into());
    let (_, Some((HandleType::Socket, fd))) = images.asked("take").await else {
        panic!("no socket")
    };
    let mut taken = UnixStream::from(fd.try_clone().unwrap());
    mine.write_all(b"hi").unwrap();
    let mut text = [0; 2];
    taken.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hi");
}

#[tokio::test]
async fn who_does_not_read_is_told_what_it_missed() {
    const MESSAGES: u64 = 8_000;
    let exchange = exchange();
    let (mut slow, _line) = open(&exchange, "slow", true).await;
    assert_eq!(slow.hear().await.0, json!({"$sync": {"n": 7}}), "a next daemon asks");
    slow.say(json!({"$g": "subscribe", "topic": "n.*"}));
    while exchange.publish("n.0", "0".into()).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let payload = format!("\"{}\"", "x".repeat(1_000));
    for _ in 0..MESSAGES {
        assert_eq!(exchange.publish("n.1", payload.as_str().into()).await.unwrap(), 1);
    }
    assert_eq!(exchange.publish("n.end", "0".into()).await.unwrap(), 1);
    let (mut got, mut missed) = (0, 0);
    loop {
        let message = slow.hear().await.0;
        match (message["$g"].as_str(), message["topic"].as_str()) {
            (Some("gap"), Some("n.*")) => missed += message["missed"].as_u64().unwrap(),
            (Some("message"), Some("n.1")) => got += 1,
            (Some("message"), Some("n.end")) => break,
            _ => {}
        }
    }
    assert_eq!(got + missed, MESSAGES);
    assert!(missed > 0 && got > 1_000, "{got} came, {missed} were dropped");
    assert_eq!(exchange.counts().await.unwrap().dropped, missed);
}
