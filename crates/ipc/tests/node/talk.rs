//! A plain forked program: messages, handles both ways, what is answered by itself, what a broken peer meets.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use ganger_ipc::node::{Event, HandleOut, HandleType, Kind, SocketAnswer, SocketWord, Sockets};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::child::{Node, connection, have_node, in_time};

async fn up() -> Node {
    let mut node = Node::start("talk.js", &[], None);
    assert_eq!(node.message().await.0, r#""up""#);
    node
}

#[tokio::test]
async fn messages_come_back_and_the_environment_is_clean() {
    if !have_node() {
        return;
    }
    let mut node = up().await;
    for text in [r#""h\u00e9 😀""#, r#""\ud800""#, "17", "[1,null]", r#"{"cmd":"NODE_"}"#, "null"]
    {
        node.send(text);
        let (echo, _) = node.message().await;
        let plain = text.replace("\\u00e9", "é");
        assert_eq!(echo, format!(r#"{{"echo":{plain}}}"#));
    }
    let long = format!("\"{}\"", "é".repeat(700_000));
    node.send(&long);
    assert_eq!(node.message().await.0.len(), long.len() + r#"{"echo":}"#.len());
    node.send(r#""env""#);
    assert_eq!(node.message().await.0, r#"{"env":[]}"#);
    // It says goodbye itself: the end of the stream.
    node.send(r#""bye""#);
    assert!(node.next().await.is_none());
    assert!(in_time(node.child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn twenty_sockets_in_a_row_are_acknowledged_served_and_counted() {
    const KEY: &str = "4:127.0.0.1:8080";
    if !have_node() {
        return;
    }
    let mut node = up().await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let (client, fd) = connection().await.unwrap();
        let handle = HandleOut { key: Some(KEY.into()), ..HandleOut::new(HandleType::Socket, fd) };
        node.channel.send_handle(format!(r#"{{"n":{n}}}"#).as_bytes(), handle).unwrap();
        clients.push(BufReader::new(client));
    }
    node.channel.send(Sockets::ask_count(KEY)).unwrap();
    let (mut delivered, mut books) = (0, Sockets::default());
    let answer = loop {
        match node.next().await.unwrap().unwrap() {
            Event::Delivered(ticket) => {
                assert_eq!(ticket, delivered, "in order");
                delivered += 1;
            }
            Event::Message { kind: Kind::Socket(word), body, .. } => {
                break books.on_message(word, &body).unwrap();
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delivered, 20);
    assert_eq!(answer, (None, Some(SocketAnswer::Open { key: KEY.into(), count: 20 })));
    for (n, client) in clients.iter_mut().enumerate() {
        let mut line = String::new();
        in_time(client.read_line(&mut line)).await.unwrap();
        assert_eq!(line, format!("socket {n}\n"));
    }
    node.channel.send(Sockets::ask_notice(KEY)).unwrap();
    node.send(r#""drop""#);
    let Some(Ok(Event::Message { kind: Kind::Socket(SocketWord::AllClosed), .. })) =
        node.next().await
    else {
        panic!("the last is closed, and nothing told");
    };
}

#[tokio::test]
async fn a_server_goes_there_and_another_comes_back() {
    if !have_node() {
        return;
    }
    let mut node = up().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = HandleOut::new(HandleType::Server, Arc::new(listener.into()));
    node.channel.send_handle(b"1", handle).unwrap();
    assert_eq!(node.message().await.0, r#""server""#);
    let mut said = String::new();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    in_time(client.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "served");
    node.send(r#""give""#);
    let (message, handle) = node.message().await;
    assert!(message.starts_with(r#"{"server":"#), "{message}");
    // It says the next only when it has heard that the server arrived.
    assert_eq!(node.message().await.0, r#""after the server""#);
    let listener = std::net::TcpListener::from(Arc::try_unwrap(handle.unwrap()).unwrap());
    let port = listener.local_addr().unwrap().port();
    assert_eq!(message, format!(r#"{{"server":{port}}}"#));
}

#[tokio::test]
async fn a_message_without_its_handle_is_told_and_a_split_one_arrives() {
    if !have_node() {
        return;
    }
    let (mut child, mut socket) = Node::start_raw("talk.js", &[], None);
    socket.set_read_timeout(Some(crate::child::PATIENCE)).unwrap();
    let mut heard = Vec::new();
    let mut hear = |socket: &mut std::os::unix::net::UnixStream, lines: usize| {
        while heard.iter().filter(|byte| **byte == b'\n').count() < lines {
            let mut some = [0; 4096];
            let n = socket.read(&mut some).unwrap();
            assert!(n > 0, "Node hung up");
            heard.extend_from_slice(&some[..n]);
        }
        String::from_utf8(std::mem::take(&mut heard)).unwrap()
    };
    hear(&mut socket, 1);
    let frame = br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"n":5}}"#;
    socket.write_all(&[frame, &b"\n"[..]].concat()).unwrap();
    assert_eq!(hear(&mut socket, 1), "{\"cmd\":\"NODE_HANDLE_NACK\"}\n");
    // A message before it in the same write, itself in two, another behind it.
    let (client, fd) = connection().await.unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    socket.write_all(b"\"before\"\n").unwrap();
    sendmsg(&socket, &[IoSlice::new(&frame[..20])], &mut control, SendFlags::empty()).unwrap();
    socket.write_all(&[&frame[20..], b"\n\"behind\"\n"].concat()).unwrap();
    let all = hear(&mut socket, 3);
    assert!(all.contains(r#"{"echo":"before"}"#) && all.contains(r#"{"echo":"behind"}"#), "{all}");
    assert!(all.contains("NODE_HANDLE_ACK"), "{all}");
    let mut line = String::new();
    in_time(BufReader::new(client).read_line(&mut line)).await.unwrap();
    assert_eq!(line, "socket 5\n");
    drop(socket);
    in_time(child.wait()).await.unwrap();
}
