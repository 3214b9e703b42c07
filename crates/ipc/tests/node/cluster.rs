//! Unmodified Node servers with our primary: served, drained, refused, killed.

use std::collections::BTreeMap;

use ganger_ipc::node::cluster::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::child::{have_node, in_time};
use crate::primary::{Owner, Told};

/// `GET path`, the whole body; an error of the connection is the test's.
async fn get(address: std::net::SocketAddr, path: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    // The server doesn't say a length: the body is in chunks, or one piece.
    body.lines().find(|line| line.contains('/')).unwrap().to_owned()
}

async fn web(workers: u32, settings: Settings) -> Owner {
    let mut primary = Owner::new(settings);
    for id in 1..=workers {
        primary.start(id, "web.js", &["0"]);
    }
    let mut listening = 0;
    while listening < workers {
        listening += u32::from(matches!(primary.next().await, Told::Listening(..)));
    }
    primary
}

/// Sends so many requests at once, and moves the primary on until all are answered: answers by pid.
async fn load(primary: &mut Owner, requests: usize) -> BTreeMap<String, usize> {
    let address = primary.address();
    let mut all = JoinSet::new();
    for n in 0..requests {
        all.spawn(get(address, format!("/{n}")));
    }
    let mut by_pid = BTreeMap::new();
    while !all.is_empty() {
        tokio::select! {
            Some(one) = all.join_next() => {
                let body = one.unwrap();
                let pid = body.split(' ').next().unwrap().to_owned();
                *by_pid.entry(pid).or_default() += 1;
            }
            told = primary.next() => panic!("{told:?}"),
        }
    }
    by_pid
}

#[tokio::test]
async fn two_workers_serve_evenly_and_drain_without_a_loss() {
    if !have_node() {
        return;
    }
    let mut primary = web(2, Settings::default()).await;
    let by_pid = load(&mut primary, 60).await;
    assert_eq!(by_pid.values().sum::<usize>(), 60);
    // How fast each acknowledges is the machine's affair; that both are used is ours.
    assert_eq!(by_pid.len(), 2, "{by_pid:?}");
    primary.primary.disconnect(1);
    let address = primary.address();
    let rest = tokio::spawn(async move {
        for n in 0..10 {
            get(address, format!("/{n}")).await;
        }
    });
    let before = primary.until(&Told::Gone(1, Some(0))).await;
    assert_eq!(before, [], "it was told to leave: nothing else is news");
    serve(&mut primary, rest).await;
    primary.primary.disconnect(2);
    let before = primary.until(&Told::Gone(2, Some(0))).await;
    assert_eq!(before, [Told::Idle]);
}

/// Moves the primary on until a client is done.
async fn serve(primary: &mut Owner, mut client: tokio::task::JoinHandle<()>) {
    tokio::select! {
        done = &mut client => done.unwrap(),
        told = primary.next() => panic!("{told:?}"),
    }
}

#[tokio::test]
async fn thirty_connections_in_a_row_need_no_answer_in_between() {
    if !have_node() {
        return;
    }
    let mut primary = web(1, Settings { window: 30, ..Settings::default() }).await;
    let by_pid = load(&mut primary, 30).await;
    assert_eq!(by_pid.values().sum::<usize>(), 30);
    // The client may have its answer before we have the worker's.
    primary.undecided((0, 0)).await;
    assert_eq!(primary.taken(), [(1, 30)].into());
}

#[tokio::test]
async fn a_shared_listener_is_accepted_by_the_workers() {
    if !have_node() {
        return;
    }
    let mut primary = web(2, Settings { shared: true, ..Settings::default() }).await;
    let address = primary.address();
    let by_pid = load_quietly(&mut primary, address, 20).await;
    assert_eq!(by_pid, 20);
    assert_eq!(primary.taken(), [(1, 0), (2, 0)].into());
}

/// Requests that the primary has no part in.
async fn load_quietly(
    primary: &mut Owner,
    address: std::net::SocketAddr,
    requests: usize,
) -> usize {
    let mut answered = 0;
    for n in 0..requests {
        tokio::select! {
            body = get(address, format!("/{n}")) => answered += usize::from(body.ends_with(&format!("/{n}"))),
            told = primary.next() => panic!("{told:?}"),
        }
    }
    answered
}

#[tokio::test]
async fn a_port_that_is_taken_is_eaddrinuse_in_the_worker() {
    if !have_node() {
        return;
    }
    let mut primary = Owner::new(Settings::default());
    primary.refuse_bind = Some(98);
    primary.start(1, "web.js", &["0"]);
    // The program exits 3 when it sees the code.
    primary.until(&Told::Gone(1, Some(3))).await;
}

#[tokio::test]
async fn what_a_full_worker_refuses_goes_to_the_other_and_back_when_both_do() {
    if !have_node() {
        return;
    }
    let mut primary = Owner::new(Settings::default());
    for id in [1, 2] {
        primary.start(id, "stubborn.js", &[]);
    }
    let mut listening = 0;
    while listening < 2 {
        listening += u32::from(matches!(primary.next().await, Told::Listening(..)));
    }
    let address = primary.address();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut pid = [0; 16];
        let n = tokio::select! {
            n = client.read(&mut pid) => n.unwrap(),
            told = primary.next() => panic!("{told:?}"),
        };
        held.push((client, String::from_utf8_lossy(&pid[..n]).into_owned()));
    }
    assert_ne!(
        held[0].1, held[1].1,
        "the second was refused by the first's worker, or not offered to it"
    );
    let _third = TcpStream::connect(address).await.unwrap();
    assert_eq!(primary.next().await, Told::Dropped);
    // One leaves by its own will, which it only does when it is answered.
    let (mut first, _) = held.remove(0);
    first.write_all(b"leave").await.unwrap();
    let mut said = String::new();
    in_time(first.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "leaving");
    // Its server is closed when its last connection is.
    drop(first);
    let (left, gone) = (primary.next().await, primary.next().await);
    let Told::Leaving(who) = left else { panic!("{left:?}") };
    assert_eq!(gone, Told::Gone(who, Some(0)));
}

#[tokio::test]
async fn a_killed_workers_connections_are_served_by_another() {
    if !have_node() {
        return;
    }
    let mut primary = web(1, Settings::default()).await;
    let pid = load(&mut primary, 1).await.into_keys().next().unwrap();
    // It stands still: what it is offered stays unanswered.
    let stopped = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
    rustix::process::waitpid(Some(stopped), rustix::process::WaitOptions::UNTRACED).unwrap();
    let address = primary.address();
    let mut all = JoinSet::new();
    for n in 0..5 {
        all.spawn(get(address, format!("/{n}")));
    }
    primary.undecided((0, 5)).await;
    primary.kill(1);
    assert_eq!(primary.until(&Told::Gone(1, None)).await, [Told::Idle]);
    assert_eq!(primary.primary.undecided(), (5, 0));
    primary.start(2, "web.js", &["0"]);
    // Any port is one port for all workers: the first listener, which stayed open.
    primary.until(&Told::Listening(2, address.port())).await;
    while !all.is_empty() {
        tokio::select! {
            Some(one) = all.join_next() => assert!(!one.unwrap().starts_with(&pid)),
            told = primary.next() => panic!("{told:?}"),
        }
    }
    primary.undecided((0, 0)).await;
    assert_eq!(primary.taken()[&2], 5);
}

#[tokio::test]
async fn unix_and_udp_servers_are_served_too() {
    if !have_node() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut primary = Owner::new(Settings::default());
    for id in [1, 2] {
        primary.start(id, "other.js", &[path.to_str().unwrap()]);
    }
    let mut listening = 0;
    while listening < 4 {
        listening += u32::from(matches!(primary.next().await, Told::Listening(..)));
    }
    let clients = tokio::spawn(async move {
        let mut pids = std::collections::BTreeSet::new();
        for _ in 0..2 {
            let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            assert!(said.starts_with("unix "), "{said}");
            pids.insert(said);
        }
        assert_eq!(pids.len(), 2, "they take turns");
    });
    serve(&mut primary, clients).await;
    let (udp, client) = (primary.udp.unwrap(), tokio::net::UdpSocket::bind("127.0.0.1:0").await);
    let client = client.unwrap();
    client.send_to(b"hello", udp).await.unwrap();
    let mut said = [0; 32];
    let (n, from) = in_time(client.recv_from(&mut said)).await.unwrap();
    assert_eq!((&said[..n], from), (&b"udp hello"[..], udp));
    primary.undecided((0, 0)).await;
    assert_eq!(primary.taken(), [(1, 1), (2, 1)].into());
    // Each worker leaves both of its servers; the last one leaves them idle.
    primary.primary.disconnect(1);
    assert_eq!(primary.until(&Told::Gone(1, Some(0))).await, []);
    primary.primary.disconnect(2);
    assert_eq!(primary.until(&Told::Gone(2, Some(0))).await, [Told::Idle, Told::Idle]);
}

#[tokio::test]
async fn a_worker_whose_primary_vanishes_ends() {
    if !have_node() {
        return;
    }
    let mut node = crate::child::Node::start("web.js", &["0"], Some(1));
    // Until it has asked for its port it has something to say, and would fail at that instead.
    while !node.message().await.0.contains("queryServer") {}
    let crate::child::Node { mut child, channel } = node;
    drop(channel);
    assert_eq!(in_time(child.wait()).await.unwrap().code(), Some(0));
}
