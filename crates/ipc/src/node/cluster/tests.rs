//! The protocol's words by example, and a model: no connection is ever lost, doubled, or kept from a worker that has room.

mod model;

use super::*;

/// A worker's `queryServer`, as Node 20 writes it.
fn query(seq: u64, port: u16, index: u64) -> Vec<u8> {
    format!(
        r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","index":{index},"data":null,"address":"127.0.0.1","port":{port},"addressType":4,"flags":0,"backlog":false,"seq":{seq}}}"#
    )
    .into_bytes()
}

fn close(key: &str) -> Vec<u8> {
    format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{key}","seq":9}}"#).into_bytes()
}

fn answer(ack: u64, accepted: bool) -> Vec<u8> {
    format!(r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":{accepted},"seq":5}}"#).into_bytes()
}

fn here() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

/// The one message among the actions, as JSON.
fn said(actions: &[Action<u32>]) -> serde_json::Value {
    let body = actions.iter().find_map(|action| match action {
        Action::Send { body, .. }
        | Action::SendListener { body, .. }
        | Action::SendConnection { body, .. } => Some(body),
        _ => None,
    });
    serde_json::from_slice(body.expect("a message")).unwrap()
}

fn opened_key(actions: &[Action<u32>]) -> Option<&str> {
    actions.iter().find_map(|action| match action {
        Action::Tell(Notice::Open { key, .. }) => Some(key.as_str()),
        _ => None,
    })
}

fn with_workers(count: WorkerId, settings: Settings) -> Cluster<u32> {
    let mut cluster = Cluster::new(settings);
    (1..=count).for_each(|worker| cluster.join(worker));
    cluster
}

#[test]
fn a_listener_is_opened_once_and_shared_by_its_key() {
    let mut cluster = with_workers(3, Settings::default());
    let first = cluster.on_message(1, &query(4, 8080, 0)).unwrap();
    let key = opened_key(&first).unwrap().to_owned();
    assert_eq!((first.len(), key.as_str()), (1, "127.0.0.1:8080:4:null"));
    // While it is being bound, the next only waits.
    assert_eq!(cluster.on_message(2, &query(1, 8080, 0)).unwrap(), []);
    let replies = cluster.opened(&key, Ok(Some(here())));
    assert_eq!(replies.len(), 2);
    let reply = said(&replies);
    assert_eq!(reply["cmd"], "NODE_CLUSTER");
    assert_eq!((&reply["ack"], &reply["key"]), (&4.into(), &key.as_str().into()));
    assert!(reply["errno"].is_null() && reply["data"].is_null() && reply["seq"].is_u64());
    let sockname = serde_json::json!({"address": "127.0.0.1", "family": "IPv4", "port": 8080});
    assert_eq!(reply["sockname"], sockname);
    // Who comes later is answered at once.
    assert_eq!(said(&cluster.on_message(3, &query(7, 8080, 0)).unwrap())["ack"], 7);
    let idle = |actions: &[Action<u32>]| {
        actions.contains(&Action::Tell(Notice::Idle { key: key.clone() }))
    };
    assert!(!idle(&cluster.on_message(1, &close(&key)).unwrap()));
    assert!(!idle(&cluster.gone(2)));
    assert!(idle(&cluster.on_message(3, &close(&key)).unwrap()));
}

#[test]
fn keys_follow_node_22_23() {
    let mut cluster = with_workers(2, Settings::default());
    let opened = |cluster: &mut Cluster<u32>, worker, port, index| {
        let actions = cluster.on_message(worker, &query(index, port, index)).unwrap();
        let key = opened_key(&actions).map(str::to_owned);
        key.iter().for_each(|key| {
            cluster.opened(key, Ok(Some(here())));
        });
        key
    };
    // Any port: each server of the program has its own, the same of each worker share it.
    assert_eq!(opened(&mut cluster, 1, 0, 0).unwrap(), "127.0.0.1:0:4:null:0");
    assert_eq!(opened(&mut cluster, 1, 0, 1).unwrap(), "127.0.0.1:0:4:null:1");
    assert_eq!(opened(&mut cluster, 2, 0, 1), None);
    // A port: one, whatever the index; the same worker once more makes a listener of its own, whose bind will fail.
    assert_eq!(opened(&mut cluster, 1, 80, 3).unwrap(), "127.0.0.1:80:4:null");
    assert_eq!(opened(&mut cluster, 2, 80, 9), None);
    assert_eq!(opened(&mut cluster, 1, 80, 4).unwrap(), "127.0.0.1:80:4:null#2");
}

#[test]
fn a_bind_that_fails_is_told_as_node_does_and_tried_anew() {
    let mut cluster = with_workers(2, Settings::default());
    let key = opened_key(&cluster.on_message(1, &query(0, 80, 0)).unwrap()).unwrap().to_owned();
    let failed = cluster.opened(&key, Err(98));
    let reply = said(&failed);
    assert_eq!((&reply["errno"], &reply["ack"]), (&(-98).into(), &0.into()));
    assert_eq!(opened_key(&cluster.on_message(2, &query(0, 80, 0)).unwrap()), Some(key.as_str()));
}

#[test]
fn shared_and_udp_workers_get_the_socket() {
    let mut shared = with_workers(1, Settings { shared: true, ..Settings::default() });
    let key = opened_key(&shared.on_message(1, &query(0, 80, 0)).unwrap()).unwrap().to_owned();
    let actions = shared.opened(&key, Ok(Some(here())));
    assert!(matches!(&actions[..], [Action::SendListener { is: HandleType::Native, .. }]));
    assert!(said(&actions).get("sockname").is_none());
    let mut cluster = with_workers(1, Settings::default());
    let udp = br#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":0,"addressType":"udp4","fd":-1,"flags":0,"seq":2}"#;
    let key = opened_key(&cluster.on_message(1, udp).unwrap()).unwrap().to_owned();
    let actions = cluster.opened(&key, Ok(Some(here())));
    assert!(matches!(&actions[..], [Action::SendListener { is: HandleType::DgramNative, .. }]));
}

#[test]
fn the_first_data_goes_to_all() {
    let mut cluster = with_workers(3, Settings::default());
    let with = |data: &str| {
        String::from_utf8(query(0, 443, 0))
            .unwrap()
            .replace("\"data\":null", &format!("\"data\":{data}"))
    };
    let first = cluster.on_message(1, with("null").as_bytes()).unwrap();
    let key = opened_key(&first).unwrap().to_owned();
    cluster.opened(&key, Ok(Some(here())));
    let keys = r#"{"type":"Buffer","data":[1,2]}"#;
    let data: serde_json::Value = serde_json::from_str(keys).unwrap();
    assert_eq!(said(&cluster.on_message(2, with(keys).as_bytes()).unwrap())["data"], data);
    assert_eq!(said(&cluster.on_message(3, with("7").as_bytes()).unwrap())["data"], data);
}

/// Two workers on one open listener.
fn serving(settings: Settings) -> (Cluster<u32>, String) {
    let mut cluster = with_workers(2, settings);
    let key = opened_key(&cluster.on_message(1, &query(0, 80, 0)).unwrap()).unwrap().to_owned();
    cluster.on_message(2, &query(0, 80, 0)).unwrap();
    cluster.opened(&key, Ok(Some(here())));
    (cluster, key)
}

fn offered(actions: &[Action<u32>]) -> Vec<(WorkerId, u64, u32)> {
    let one = |action: &Action<u32>| match action {
        Action::SendConnection { worker, offer, connection, .. } => {
            Some((*worker, *offer, *connection))
        }
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

#[test]
fn the_least_burdened_worker_is_chosen_and_among_equals_they_take_turns() {
    let (mut cluster, key) = serving(Settings { window: 2, ..Settings::default() });
    let give = |cluster: &mut Cluster<u32>, n| offered(&cluster.offer(&key, n));
    let all: Vec<_> = (0..5).flat_map(|n| give(&mut cluster, n)).collect();
    assert_eq!(all.iter().map(|(worker, ..)| *worker).collect::<Vec<_>>(), [1, 2, 1, 2]);
    assert_eq!(cluster.undecided(), (1, 4));
    // A credit came back: the one that waits goes there.
    let (worker, offer, connection) = all[1];
    let actions = cluster.on_message(worker, &answer(offer, true)).unwrap();
    assert!(actions.contains(&Action::Taken { worker, key: key.clone(), connection }));
    assert_eq!(offered(&actions)[0].0, 2);
    assert_eq!(said(&actions)["act"], "newconn");
}

#[test]
fn who_is_refused_goes_to_another_and_back_when_all_refuse() {
    let (mut cluster, key) = serving(Settings::default());
    let (first, offer, _) = offered(&cluster.offer(&key, 7))[0];
    let again = offered(&cluster.on_message(first, &answer(offer, false)).unwrap());
    let (second, offer, connection) = again[0];
    assert!(second != first && connection == 7);
    let last = cluster.on_message(second, &answer(offer, false)).unwrap();
    assert_eq!(last, [Action::Back { key, connection: 7 }]);
    assert!(cluster.on_message(second, &answer(offer, false)).is_err());
}

#[test]
fn who_was_refused_by_all_that_are_left_does_not_wait_behind_others() {
    let (mut cluster, key) = serving(Settings { window: 1, ..Settings::default() });
    cluster.join(3);
    cluster.on_message(3, &query(0, 80, 0)).unwrap();
    let given: Vec<_> = (0..4).flat_map(|n| offered(&cluster.offer(&key, n))).collect();
    assert_eq!(given.iter().map(|(worker, ..)| *worker).collect::<Vec<_>>(), [1, 2, 3]);
    // 0 waits for 2 or 3, and 1 has 3 now.
    let actions = cluster.on_message(1, &answer(given[0].1, false)).unwrap();
    assert_eq!(offered(&actions).iter().map(|(.., n)| *n).collect::<Vec<_>>(), [3]);
    // In front of 0 stands what 3 had; with 2 goes the last that did not refuse 0.
    assert_eq!(cluster.gone(3), []);
    let actions = cluster.gone(2);
    assert_eq!(actions, [Action::Back { key, connection: 0 }]);
}

#[test]
fn a_worker_that_dies_gives_its_connections_back_in_order() {
    let (mut cluster, key) = serving(Settings { window: 2, ..Settings::default() });
    for n in 0..6 {
        cluster.offer(&key, n);
    }
    // 0 and 2 are with worker 1.
    assert_eq!(cluster.gone(1), []);
    assert_eq!(cluster.undecided(), (4, 2));
    cluster.join(3);
    let taken = offered(&cluster.on_message(3, &query(0, 80, 0)).unwrap());
    assert_eq!(taken.iter().map(|(.., connection)| *connection).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_drain_is_told_answered_and_final() {
    let (mut cluster, key) = serving(Settings::default());
    let actions = cluster.disconnect(1);
    assert_eq!(said(&actions)["act"], "disconnect");
    assert!(offered(&cluster.offer(&key, 1)).iter().all(|(worker, ..)| *worker == 2));
    let leaving = br#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":33}"#;
    let actions = cluster.on_message(2, leaving).unwrap();
    assert!(actions.contains(&Action::Tell(Notice::Leaving { worker: 2 })));
    assert!(actions.contains(&Action::Tell(Notice::Idle { key: key.clone() })));
    assert_eq!(said(&actions)["ack"], 33);
    // Nobody is there: what comes waits for the next worker.
    assert_eq!(cluster.offer(&key, 2), []);
    assert_eq!(cluster.close(&key), [Action::Back { key: key.clone(), connection: 2 }]);
    assert_eq!(cluster.offer(&key, 3), [Action::Back { key, connection: 3 }]);
}

#[test]
fn a_line_that_is_too_long_pauses_the_listener() {
    let settings = Settings { window: 1, waiting_max: 4, ..Settings::default() };
    let (mut cluster, key) = serving(settings);
    let mut actions: Vec<_> = (0..6).flat_map(|n| cluster.offer(&key, n)).collect();
    assert_eq!(actions.pop(), Some(Action::Pause { key: key.clone() }));
    let first = offered(&actions)[0];
    let (mut next, mut resumed) = (first, 0);
    for _ in 0..3 {
        let actions = cluster.on_message(next.0, &answer(next.1, true)).unwrap();
        resumed += usize::from(actions.contains(&Action::Resume { key: key.clone() }));
        next = *offered(&actions).first().unwrap_or(&next);
    }
    assert_eq!(resumed, 1);
}

#[test]
fn what_fits_nothing_is_refused_by_name() {
    let mut cluster = with_workers(1, Settings::default());
    let refused = |cluster: &mut Cluster<u32>, worker, body: &str| {
        cluster.on_message(worker, body.as_bytes()).unwrap_err().to_string()
    };
    assert!(refused(&mut cluster, 9, r#"{"act":"online"}"#).contains("worker 9"));
    assert!(refused(&mut cluster, 1, r#"{"act":"explode"}"#).contains("explode"));
    assert!(refused(&mut cluster, 1, r#"{"ack":3,"accepted":true}"#).contains("was not asked"));
    assert!(refused(&mut cluster, 1, r#"{"seq":1}"#).contains("neither act nor ack"));
    for (address_type, port) in [("7", 80), ("4", 70_000), ("null", 80)] {
        let body = format!(
            r#"{{"act":"queryServer","seq":1,"addressType":{address_type},"port":{port}}}"#
        );
        assert!(cluster.on_message(1, body.as_bytes()).is_err(), "{body}");
    }
    for n in 0..LISTENERS_MAX {
        cluster.on_message(1, &query(0, 0, n as u64)).unwrap();
    }
    assert!(cluster.on_message(1, &query(0, 0, 9999)).is_err());
}
