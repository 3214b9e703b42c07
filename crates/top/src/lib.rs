//! `ganger top`: a live screen of services, workers and queues.
//!
//! ```text
//! feed (each second: instances, queues, costs) ─┐
//! keys, size of the terminal ───────────────────┼─▶ Model (pure) ─▶ view (pure) ─▶ terminal
//! lines of the log that is shown ───────────────┤      │
//! answers to actions ───────────────────────────┘      └─▶ Ask: an action that was confirmed, a log to follow, the end
//! ```
//!
//! The model knows no clock, no terminal and no socket; the session is the only place where things wait. The daemon may come and
//! go: what is shown is then said to be old. The terminal is given back however this ends: by key, signal, error or panic.

mod feed;
mod model;
mod screen;
mod session;
mod text;
mod view;

pub use session::{Options, TopError, run};
