//! What goes to a worker, appended to a buffer: no allocation per message.

use ganger_core::{TaskId, Token};

/// The answer that Node's `process.send(msg, handle)` waits for.
pub const NODE_HANDLE_ACK: &[u8] = b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n";

/// One task as it goes out.
#[derive(Debug, Clone, Copy)]
pub struct TaskOut<'a> {
    /// Which task.
    pub id: TaskId,
    /// The kind the pusher gave; may be empty.
    pub kind: &'a str,
    /// JSON text.
    pub payload: &'a [u8],
    /// From 1.
    pub attempt: u32,
    /// The queue's name.
    pub queue: &'a str,
    /// The fencing token of this attempt.
    pub token: Token,
}

impl TaskOut<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        const INFALLIBLE: &str = "writing to a Vec does not fail";
        write!(out, "{{\"id\":\"{}\",\"kind\":", self.id).expect(INFALLIBLE);
        put_str(out, self.kind);
        out.extend_from_slice(b",\"payload\":");
        put_one_line(out, self.payload);
        write!(out, ",\"attempt\":{},\"queue\":", self.attempt).expect(INFALLIBLE);
        put_str(out, self.queue);
        write!(out, ",\"token\":\"{}\"}}", self.token).expect(INFALLIBLE);
    }
}

/// Several messages as one write: one JSON array in one line for a peer that takes batches, else a line each.
#[derive(Debug)]
pub struct BatchLine<'a> {
    out: &'a mut Vec<u8>,
    array: bool,
    count: usize,
}

impl<'a> BatchLine<'a> {
    /// Starts a batch at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, array: bool) -> Self {
        Self { out, array, count: 0 }
    }

    /// Adds a task.
    pub fn task(&mut self, task: &TaskOut<'_>) {
        if self.array {
            self.out.push(if self.count == 0 { b'[' } else { b',' });
        }
        task.put(self.out);
        if !self.array {
            self.out.push(b'\n');
        }
        self.count += 1;
    }

    /// Ends the line. An empty batch writes nothing.
    pub fn end(self) {
        if self.array && self.count > 0 {
            self.out.extend_from_slice(b"]\n");
        }
    }
}

/// `{"$ack":n}`: that many results of this session are committed.
pub fn put_ack(out: &mut Vec<u8>, committed: u64) {
    out.extend_from_slice(format!("{{\"$ack\":{committed}}}\n").as_bytes());
}

/// `{"$cancel":"ID"}`.
pub fn put_cancel(out: &mut Vec<u8>, id: TaskId) {
    out.extend_from_slice(format!("{{\"$cancel\":\"{id}\"}}\n").as_bytes());
}

/// `{"$drain":true}`.
pub fn put_drain(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"$drain\":true}\n");
}

/// `{"$ping":n}`: it is to say `{"$pong":n}` at once.
pub fn put_ping(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(format!("{{\"$ping\":{n}}}\n").as_bytes());
}

/// `{"$sync":{"n":…}}`: a new daemon asks what the worker holds.
pub fn put_sync(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(format!("{{\"$sync\":{{\"n\":{n}}}}}\n").as_bytes());
}

/// Appends a JSON text with its newlines made spaces. In valid JSON a raw newline only stands between tokens, and a line is a
/// message here.
pub(crate) fn put_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let from = out.len();
    out.extend_from_slice(json);
    if memchr::memchr2(b'\n', b'\r', json).is_some() {
        for byte in &mut out[from..] {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

/// Appends a JSON string.
fn put_str(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(&mut *out, text).expect("a string is always JSON");
}
