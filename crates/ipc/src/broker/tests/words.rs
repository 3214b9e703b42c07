//! What is written and what is read.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::broker::wire::{Bodies, BodyOut, Heard, parse, put};
use crate::broker::{Answer, BodyIs, Cargo, Code, Said, ToPeer};

fn said(line: &str) -> Result<Heard<u8>, String> {
    parse(line.as_bytes(), 7)
}

#[test]
fn every_word_is_read() {
    let Ok(Heard::Said(Said::Request { id, to, kind, timeout, cargo }, None)) = said(
        r#"{"$g":"request","id":"a\u0031","to":"images#2","kind":"k","payload":"\ud800","timeout_ms":1500}"#,
    ) else {
        panic!("no request")
    };
    assert_eq!((&*id, &*to, &*kind), (r#""a\u0031""#, "images#2", "k"));
    assert_eq!(timeout, Some(Duration::from_millis(1500)));
    assert_eq!(cargo.payload.as_deref(), Some(r#""\ud800""#), "payloads are never decoded");
    let number = |line| match said(line) {
        Ok(Heard::Said(Said::Response { number, answer }, _)) => (number, answer),
        other => panic!("{other:?}"),
    };
    assert_eq!(number(r#"{"$g":"response","id":"7.12","result":null}"#).0, Some(12));
    assert_eq!(number(r#"{"$g":"response","id":"6.12","result":1}"#).0, None, "of another daemon");
    assert_eq!(number(r#"{"$g":"response","id":3}"#).0, None);
    let (_, answer) = number(r#"{"$g":"response","id":"7.1","error":{"message":"no"}}"#);
    assert_eq!(answer, Answer::Error(r#"{"message":"no"}"#.into()));
    assert_eq!(said("\"ready\""), Ok(Heard::Ready));
    assert_eq!(said(r#"{"$hello":{"sdk":"x","bodies":"path"}}"#), Ok(Heard::Hello(Bodies::Path)));
    assert_eq!(said(r#"{"hello":1}"#), Ok(Heard::Other), "a program's own");
    assert_eq!(said(r#"{"$g":"opened","fd":9}"#), Ok(Heard::Opened(9)));
    let open = Said::Open { ids: vec!["1".into(), "\"b\"".into()] };
    assert_eq!(said(r#"{"$g":"open","ids":[1,"b"]}"#), Ok(Heard::Said(open, None)));
    let window = Said::Subscribe { topic: "a.*".into(), window: Some(1) };
    assert_eq!(
        said(r#"{"$g":"subscribe","topic":"a.*","window":0}"#),
        Ok(Heard::Said(window, None))
    );
}

#[test]
fn what_makes_no_sense_is_named() {
    for (line, why) in [
        (r#"{"$g":"request","to":"x"}"#, "`id` is missing"),
        (r#"{"$g":"request","id":[1],"to":"x"}"#, "`id` is missing"),
        (r#"{"$g":"request","id":1}"#, "`to` is missing"),
        (r#"{"$g":"request","id":1,"to":"x","timeout_ms":-1}"#, "timeout_ms"),
        (r#"{"$g":"publish"}"#, "`topic` is missing"),
        (r#"{"$g":"publish","topic":"a*"}"#, "no *"),
        (r#"{"$g":"subscribe","topic":"a*b"}"#, "at the end"),
        (r#"{"$g":"shout"}"#, "`shout` is no word"),
        (r#"{"$g":1}"#, "invalid type"),
    ] {
        let error = said(line).unwrap_err();
        assert!(error.contains(why), "{line}: {error}");
    }
    let long = format!(r#"{{"$g":"publish","topic":"{}"}}"#, "t".repeat(201));
    assert!(said(&long).unwrap_err().contains("201 bytes"));
}

fn text(message: &ToPeer<u8>, body: Option<&BodyOut>) -> String {
    String::from_utf8(put(message, 7, Instant::now(), body)).unwrap()
}

#[test]
fn messages_are_as_documented() {
    let cargo = Cargo::of("[1,\n2]");
    let deadline = Instant::now() - Duration::from_secs(1);
    let (from, kind) = ("web#1".into(), "k\"".into());
    let request = ToPeer::Request { number: 3, from, kind, deadline, cargo };
    assert_eq!(
        text(&request, None),
        r#"{"$g":"request","id":"7.3","from":"web#1","kind":"k\"","timeout_ms":0,"payload":[1, 2]}"#
    );
    let body = BodyOut { size: 9, is: BodyIs::Payload, path: Some("/proc/1/fd/2".into()) };
    assert!(
        text(&request, Some(&body))
            .ends_with(r#""timeout_ms":0,"body":{"is":"payload","path":"/proc/1/fd/2","size":9}}"#)
    );
    let response = |answer| text(&ToPeer::Response { id: "1".into(), answer }, None);
    assert_eq!(
        response(Answer::Error("\"no\"".into())),
        r#"{"$g":"response","id":1,"error":"no"}"#
    );
    assert_eq!(
        response(Answer::Ours(Code::Gone, "it is".into())),
        r#"{"$g":"response","id":1,"code":"gone","error":{"message":"it is"}}"#
    );
    assert_eq!(
        text(&ToPeer::Gap { topic: "a.*".into(), missed: 4 }, None),
        r#"{"$g":"gap","topic":"a.*","missed":4}"#
    );
    let cancel = ToPeer::Cancel { number: 3, why: Code::Deadline };
    assert_eq!(text(&cancel, None), r#"{"$g":"cancel","id":"7.3","why":"deadline"}"#);
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(line in "\\{(\"(\\$g|id|to|n|ids|body|topic)\":[\"a-z0-9\\[\\]{}*.,-]{0,12},?){0,5}\\}?") {
        let _ = said(&line);
    }
}
