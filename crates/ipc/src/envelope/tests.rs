//! Round trips, batches, and what hostile or merely odd workers send.

use ganger_core::{TaskId, Token};
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn id(raw: i64) -> TaskId {
    TaskId::from_raw(raw).unwrap()
}

/// Every message of a line as text, so that it can be compared.
fn read(line: &str) -> (Vec<String>, Option<Garbage>) {
    let mut all = Vec::new();
    let bad = parse(line.as_bytes(), |message| {
        all.push(match message {
            FromWorker::Answer { id, answer: TaskAnswer::Result(raw) } => {
                format!("{} = {raw}", id.raw())
            }
            FromWorker::Answer { id, answer: TaskAnswer::Error(e) } => {
                format!("{} ! {} {:?} {:?}", id.raw(), e.message, e.class, e.stack)
            }
            FromWorker::Started { id } => format!("{} started", id.raw()),
            FromWorker::Progress { id, token, value, message } => {
                let token = token.map(|t| format!(" ({t})")).unwrap_or_default();
                let message = message.map(|m| format!(" {m}")).unwrap_or_default();
                format!("{} progress {value}{message}{token}", id.raw())
            }
            FromWorker::Log { id, token, text } => {
                let token = token.map(|t| format!(" ({t})")).unwrap_or_default();
                format!("{} log {text:?}{token}", id.raw())
            }
            FromWorker::Hello(hello) => format!("{hello:?}"),
            FromWorker::Sync(sync) => {
                format!("running {:?} done {}", sync.running, sync.done.len())
            }
            FromWorker::Pong(n) => format!("pong {n}"),
            FromWorker::Ready => "ready".to_owned(),
            FromWorker::Internal(internal) => format!("{internal:?}"),
            FromWorker::Word(text) => format!("word {}", String::from_utf8_lossy(text)),
        });
    });
    (all, bad.err())
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-1.5e300".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("[ ]".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        "\\PC{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop::collection::vec(inner, 0..4)
            .prop_map(|items| format!("{{\"a\":[{}]}}", items.join(" ,")))
    })
}

proptest! {
    #[test]
    fn results_come_back_byte_for_byte(raw in 0..i64::MAX, result in json_text(), more in json_text()) {
        let one = format!("{{\"id\":\"{}\",\"result\":{result}}}", id(raw));
        prop_assert_eq!(read(&one), (vec![format!("{raw} = {result}")], None));
        let two = format!("[{one},{{\"id\":\"{}\",\"progress\":{more}}}]", id(1));
        prop_assert_eq!(read(&two), (vec![format!("{raw} = {result}"), format!("1 progress {more}")], None));
    }

    #[test]
    fn no_input_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line, |_| {});
        let _ = crate::raw::parse(&line);
    }

    #[test]
    fn nothing_protocol_like_panics(line in "[\\[{]?(\"(id|result|error|\\$sync|\\$hello|cmd)\":[\"0-9a{}\\[\\],]{0,20}){0,3}[}\\]]?") {
        let _ = parse(line.as_bytes(), |_| {});
    }

    #[test]
    fn tasks_are_one_line_of_json(raw in 0..i64::MAX, kind in "\\PC{0,10}", payload in json_text(), array: bool) {
        let payload = format!("\n{payload}\r\n");
        let task = TaskOut {
            id: id(raw), kind: &kind, payload: payload.as_bytes(), attempt: 3, queue: "q", token: Token { epoch: 7, counter: 12 },
        };
        let mut out = Vec::new();
        let mut batch = BatchLine::new(&mut out, array);
        batch.task(&task);
        batch.task(&task);
        batch.end();
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.matches('\n').count(), if array { 1 } else { 2 });
        let first = text.lines().next().unwrap();
        #[derive(serde::Deserialize)]
        struct Out { id: TaskId, kind: String, payload: Box<RawValue>, attempt: u32, queue: String, token: String }
        let got: Out = if array {
            serde_json::from_str::<Vec<Out>>(first).unwrap().pop().unwrap()
        } else {
            serde_json::from_str(first).unwrap()
        };
        prop_assert_eq!(got.id, id(raw));
        prop_assert_eq!(got.kind, kind);
        prop_assert_eq!(got.payload.get(), payload.trim());
        prop_assert_eq!((got.attempt, got.queue.as_str(), got.token.as_str()), (3, "q", "7.12"));
    }
}

#[test]
fn a_null_result_is_a_result_and_no_answer_is_garbage() {
    assert_eq!(read(&format!("{{\"id\":\"{}\",\"result\":null}}", id(5))).0, ["5 = null"]);
    let (none, bad) = read(&format!("{{\"id\":\"{}\"}}", id(5)));
    assert!(none.is_empty());
    assert!(bad.unwrap().why.contains("neither"));
}

#[test]
fn errors_of_every_shape_keep_their_text() {
    let with = |error: &str| read(&format!("{{\"id\":\"{}\",\"error\":{error}}}", id(5))).0;
    assert_eq!(
        with(r#"{"message":"boom","class":"TypeError","stack":"at x"}"#),
        ["5 ! boom Some(\"TypeError\") Some(\"at x\")"]
    );
    assert_eq!(with("\"plain\""), ["5 ! plain None None"]);
    assert_eq!(with("{\"code\":3}"), ["5 ! {\"code\":3} None None"]);
    assert!(with(r#"{"message":"a\ud800b"}"#)[0].contains('\u{fffd}'));
}

#[test]
fn one_bad_message_of_a_batch_is_lost_alone() {
    let line = format!(
        "[{{\"id\":\"{0}\",\"result\":1}},{{\"id\":7}},\"ready\",{{\"id\":\"{0}\",\"started\":true}}]",
        id(5)
    );
    let (all, bad) = read(&line);
    assert_eq!(all, ["5 = 1", "ready", "5 started"]);
    assert!(bad.unwrap().excerpt.contains("{\"id\":7}"));
}

#[test]
fn control_messages_are_understood() {
    let (all, bad) = read(r#"{"$hello":{"sdk":"node","version":"0.1.0","batch":true,"new":1}}"#);
    assert!(all[0].contains("batch: true") && bad.is_none());
    let sync = format!(
        "{{\"$sync\":{{\"n\":1,\"running\":[\"{0}\"],\"done\":[{{\"id\":\"{0}\",\"result\":{{}}}}]}}}}",
        id(5)
    );
    assert!(read(&sync).0[0].ends_with("done 1"));
    assert_eq!(read("{\"cmd\":\"NODE_HANDLE\"}").0, ["Handle"]);
    assert_eq!(read("{\"cmd\":\"NODE_CLUSTER\"}").0, ["Other"]);
    assert_eq!(read("  ").0.len(), 0);
    let (_, bad) = read("npm WARN deprecated\u{7}");
    assert_eq!(bad.unwrap().excerpt, "npm WARN deprecated\u{fffd}");
}

#[test]
fn a_worker_may_say_whether_and_when_to_try_again() {
    let read =
        |text: &str| TaskFailure::from_json(&serde_json::from_str::<Box<RawValue>>(text).unwrap());
    assert!(read(r#"{"message":"x","retryable":false}"#).is_final);
    let later = read(r#"{"message":"x","retry_after_s":1.5}"#);
    assert_eq!(
        (later.is_final, later.retry_after),
        (false, Some(std::time::Duration::from_millis(1500)))
    );
    assert_eq!(read(r#"{"message":"x","retry_after_s":-1}"#).retry_after, None);
}

#[test]
fn words_of_an_attempt() {
    let id = id(1);
    let one = |rest: &str| read(&format!("{{\"id\":\"{id}\",{rest}}}"));
    let told = |text: &str| (vec![text.to_owned()], None);
    assert_eq!(
        one(r#""progress":42,"message":"half","token":"3.7""#),
        told("1 progress 42 half (3.7)")
    );
    assert_eq!(one(r#""progress":{"a":null}"#), told(r#"1 progress {"a":null}"#));
    assert_eq!(
        one(r#""log":"a\nb\ud800","token":"3.7""#),
        told("1 log \"a\\nb\u{fffd}\u{fffd}\u{fffd}\" (3.7)")
    );
    assert_eq!(one(r#""log":{"n":1}"#), told(r#"1 log "{\"n\":1}""#));
    // An answer is one whatever else it carries; a token that is none is told.
    assert_eq!(one(r#""result":7,"log":"x","progress":3"#), told("1 = 7"));
    let (none, why) = one(r#""log":"x","token":"soon""#);
    assert!(none.is_empty() && why.unwrap().to_string().contains("fencing token"));
}

#[test]
fn words_for_other_processes_are_told_from_answers() {
    for line in [
        r#"{"$g":"request","id":"a","to":"web","payload":{"id":"x","result":1}}"#,
        r#"{ "id": 7, "result": [1], "$g": "response" }"#,
        r#"{"topic":"t","payload":null,"$g":"publish"}"#,
    ] {
        assert_eq!(read(line), (vec![format!("word {line}")], None));
    }
    // A task may carry such a thing.
    let answer = format!(r#"{{"id":"{}","result":{{"$g":"request"}}}}"#, id(1));
    assert_eq!(read(&answer), (vec![r#"1 = {"$g":"request"}"#.to_owned()], None));
}
