//! Talking with a child: lines, the worker envelope, raw mode, and the channel they travel on.
//!
//! Everything here works on bytes that a child wrote, so nothing here trusts them: a line has a cap, text that is not the
//! protocol is a typed [`envelope::Garbage`], never a panic. Payloads and results are never decoded: they pass as the bytes they are
//! (a lone surrogate such as `"\ud800"`, which `JSON.stringify` writes, can't be held by a Rust string).
//!
//! # The protocol of a worker
//!
//! Newline-delimited JSON, one message per line, over a Unix stream socket whose descriptor number is in `GANGER_CHANNEL_FD` and
//! `NODE_CHANNEL_FD` (or over stdin and stdout for `protocol = "stdio"`). To the worker:
//!
//! ```text
//! {"id":"…","kind":"…","payload":…,"attempt":1,"queue":"…","token":"7.12"}   a task
//! {"$ack":5}         5 results of this session are committed; forget them
//! {"$cancel":"ID"}   nobody wants this task's answer as a result any more; answer soon with an error
//! {"$drain":true}    no more tasks will come; end when idle
//! {"$ping":7}        are you there? only to workers whose hello said `"ping":true`, or that answered `$sync`
//! {"$sync":{"n":1}}  a new daemon holds the channel: a new session begins
//! ```
//!
//! From the worker: `{"id","result"}`, `{"id","error":{"message","class"?,"stack"?,"retryable"?,"retry_after_s"?}}`, `{"id","started":true}`, `{"id","token"?,"progress":…,"message"?}`, `{"id","token"?,"log":"…"}`,
//! `{"$hello":{"sdk","version","concurrency"?,"batch"?,"ping"?}}`, `{"$pong":7}`, and as the answer to `$sync`
//! `{"$sync":{"running":[ids],"done":[{"id","result"|"error"}]}}`.
//! `running` lists every task received and not answered, the started ones first; `done` every answer not yet acknowledged, oldest first.
//! `token` is the task's own: a word with another one is about an attempt that is over, and dropped.
//! **Session**: `$ack` counts results from the start of the session. After `$sync` the count starts at 0 again, and the entries of
//! `done` are its first results. Both sides may put several messages into one line as a JSON array once the worker said `"batch":true`.
//!
//! Node's own protocols (`fork`, `cluster`) are in [`node`]; processes talk with each other through [`broker`].
//!
//! Raw mode ([`raw`]) is for scripts that know nothing of this: the bare payload goes out, the next message is the result.

pub mod broker;
pub mod channel;
pub mod envelope;
pub mod lines;
pub mod node;
pub mod raw;

pub use channel::{ChannelError, ChannelReader, ChannelWriter};
pub use envelope::{FromWorker, Garbage, Hello, Internal, SyncAnswer, TaskAnswer, TaskFailure};
pub use lines::{LineSplitter, LineTooLong};
