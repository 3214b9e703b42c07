//! Who waits for whose ACK.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::{
    Endpoint, Event, Frame, HandleIn, HandleOut, HandleType, Kind, OutFrame, Refused,
    Serialization, SocketAnswer, SocketWord, Sockets,
};

fn frame(body: &[u8], handle: Option<u32>) -> Frame<u32> {
    let kind = Kind::of(body, Serialization::Json).unwrap();
    Frame { body: body.to_vec(), kind, handle }
}

fn outs(endpoint: &mut Endpoint<u32>) -> Vec<(String, Option<u32>)> {
    let text = |out: OutFrame<u32>| (String::from_utf8(out.body).unwrap(), out.handle);
    std::iter::from_fn(|| endpoint.next_out()).map(text).collect()
}

const ACK: &[u8] = br#"{"cmd":"NODE_HANDLE_ACK"}"#;
const NACK: &[u8] = br#"{"cmd":"NODE_HANDLE_NACK"}"#;

fn socket(fd: u32) -> HandleOut<u32> {
    HandleOut::new(HandleType::Socket, fd)
}

#[test]
fn with_a_window_of_one_all_waits_for_the_ack_as_in_node() {
    let mut endpoint = Endpoint::new(1);
    endpoint.send(b"1".to_vec()).unwrap();
    let ticket = endpoint.send_handle(b"2", socket(7)).unwrap();
    endpoint.send(b"3".to_vec()).unwrap();
    endpoint.send_handle(b"4", socket(8)).unwrap();
    let wrapped = |n| format!(r#"{{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{n}}}"#);
    assert_eq!(outs(&mut endpoint), [("1".into(), None), (wrapped(2), Some(7))]);
    assert_eq!(endpoint.unsettled(), (1, 2));
    assert_eq!(endpoint.on_frame(frame(ACK, None)), Ok(Some(Event::Delivered(ticket))));
    assert_eq!(outs(&mut endpoint), [("3".into(), None), (wrapped(4), Some(8))]);
    endpoint.on_frame(frame(ACK, None)).unwrap();
    assert!(endpoint.is_settled());
    assert_eq!(endpoint.on_frame(frame(ACK, None)), Err(Refused::AnswerToNothing));
}

#[test]
fn a_handle_is_sent_four_times_then_lost() {
    let mut endpoint = Endpoint::new(1);
    let ticket = endpoint.send_handle(b"0", socket(7)).unwrap();
    endpoint.send(b"1".to_vec()).unwrap();
    for _ in 0..3 {
        assert_eq!(outs(&mut endpoint).len(), 1);
        assert_eq!(endpoint.on_frame(frame(NACK, None)), Ok(None));
    }
    assert_eq!(outs(&mut endpoint)[0].1, Some(7));
    assert_eq!(endpoint.on_frame(frame(NACK, None)), Ok(Some(Event::Lost(ticket))));
    assert_eq!(outs(&mut endpoint), [("1".into(), None)]);
}

#[test]
fn what_comes_is_acknowledged_at_once_and_told() {
    let mut endpoint = Endpoint::new(1);
    // Ours is under way: the ACK goes out none the less.
    endpoint.send_handle(b"0", socket(1)).unwrap();
    endpoint.send(b"later".to_vec()).unwrap();
    outs(&mut endpoint);
    let body = br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1},"key":"4:127.0.0.1:80"}"#;
    let handle =
        HandleIn { is: HandleType::Socket, fd: 9, key: Some("4:127.0.0.1:80".into()), dgram: None };
    let message =
        Event::Message { kind: Kind::User, body: br#"{"a":1}"#.to_vec(), handle: Some(handle) };
    assert_eq!(endpoint.on_frame(frame(body, Some(9))), Ok(Some(message)));
    assert_eq!(outs(&mut endpoint), [(String::from_utf8_lossy(ACK).into(), None)]);
    assert_eq!(endpoint.on_frame(frame(body, None)), Ok(None));
    assert_eq!(outs(&mut endpoint), [(String::from_utf8_lossy(NACK).into(), None)]);
    let odd = br#"{"cmd":"NODE_HANDLE","type":"tty","msg":1}"#;
    let refused = Err(Refused::UnknownHandleType("tty".into()));
    assert_eq!(endpoint.on_frame(frame(odd, Some(9))), refused);
    assert_eq!(outs(&mut endpoint), [(String::from_utf8_lossy(ACK).into(), None)]);
}

#[test]
fn a_peer_that_acknowledges_nothing_has_a_bound() {
    let mut endpoint = Endpoint::new(2);
    let sent = (0..10_000).take_while(|n| endpoint.send_handle(b"0", socket(*n)).is_ok()).count();
    assert_eq!(sent, 4096 + 2);
    assert!(endpoint.send(b"1".to_vec()).is_err());
    assert_eq!(outs(&mut endpoint).len(), 2);
}

#[test]
fn open_sockets_are_counted_by_key() {
    let mut sockets = Sockets::default();
    let ask =
        |body: &str| (body.to_owned(), Kind::of(body.as_bytes(), Serialization::Json).unwrap());
    let (count, kind) = ask(r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#);
    assert_eq!(kind, Kind::Socket(SocketWord::GetCount));
    let text = |body: Option<Vec<u8>>| body.map(|body| String::from_utf8(body).unwrap());
    let counted = |sockets: &mut Sockets| {
        text(sockets.on_message(SocketWord::GetCount, count.as_bytes()).unwrap().0)
    };
    sockets.opened("k");
    sockets.opened("k");
    assert_eq!(
        counted(&mut sockets).unwrap(),
        r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":2}"#
    );
    let notify = Sockets::ask_notice("k");
    assert_eq!(sockets.on_message(SocketWord::NotifyClose, &notify), Ok((None, None)));
    assert_eq!(sockets.closed("k"), None);
    let all = r#"{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"k"}"#;
    assert_eq!(text(sockets.closed("k")).unwrap(), all);
    assert_eq!(sockets.closed("k"), None);
    assert_eq!(text(sockets.on_message(SocketWord::NotifyClose, &notify).unwrap().0).unwrap(), all);
    let answer = Some(SocketAnswer::Open { key: "k".into(), count: 3 });
    let said = br#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":3}"#;
    assert_eq!(sockets.on_message(SocketWord::Count, said), Ok((None, answer)));
    assert!(
        sockets.on_message(SocketWord::Count, br#"{"cmd":"NODE_SOCKET_COUNT","key":"k"}"#).is_err()
    );
}

proptest! {
    /// Two endpoints and a wire that loses descriptors: nothing is lost, doubled or out of order but what is told as lost.
    #[test]
    fn between_two_endpoints_order_holds(
        messages in prop::collection::vec(any::<bool>(), 1..40),
        losses in prop::collection::vec(prop::bool::weighted(0.2), 0..60),
        windows in (1usize..5, 1usize..5),
    ) {
        let mut a = Endpoint::new(windows.0);
        let mut b = Endpoint::new(windows.1);
        for (n, with) in (0u32..).zip(&messages) {
            let body = n.to_string().into_bytes();
            if *with { a.send_handle(&body, socket(n)).unwrap(); } else { a.send(body).unwrap(); }
        }
        let mut losses = losses.into_iter().collect::<VecDeque<_>>();
        let any_loss = losses.contains(&true);
        let (mut got, mut delivered, mut lost) = (Vec::new(), 0, 0);
        loop {
            let mut moved = false;
            while let Some(out) = a.next_out() {
                moved = true;
                let handle = out.handle.filter(|_| !losses.pop_front().unwrap_or(false));
                if let Some(Event::Message { body, handle, .. }) = b.on_frame(frame(&out.body, handle)).unwrap() {
                    let n: u32 = String::from_utf8(body).unwrap().parse().unwrap();
                    prop_assert_eq!(handle.map(|h| h.fd), messages[n as usize].then_some(n));
                    got.push(n);
                }
            }
            while let Some(out) = b.next_out() {
                moved = true;
                match a.on_frame(frame(&out.body, None)).unwrap() {
                    Some(Event::Delivered(_)) => delivered += 1,
                    Some(Event::Lost(_)) => lost += 1,
                    other => prop_assert_eq!(other, None),
                }
            }
            if !moved { break; }
        }
        prop_assert!(a.is_settled() && b.is_settled());
        prop_assert_eq!(delivered + lost, messages.iter().filter(|with| **with).count());
        prop_assert_eq!(got.len() + lost, messages.len());
        if windows.0 == 1 || !any_loss {
            prop_assert!(got.is_sorted(), "{:?}", got);
        }
        got.sort_unstable();
        got.dedup();
        prop_assert_eq!(got.len() + lost, messages.len());
    }
}
