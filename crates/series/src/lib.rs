//! Where samples live: series by object and metric, their tiers, marks on the time axis, statistics, and metrics as text.
//!
//! ```text
//! Series (one owner task) ── rows a tick ──▶ open minute ── each minute ──▶ writing thread ──▶ journal
//!        │ snapshot()                                                          │ each 10 minutes  ──▶ fine    1 s, pco blocks
//!        ▼                                                                     │ each hour        ──▶ minute  sums and sketches
//! Reader (any thread): samples, cells, stats, graph, marks  ◀── picture ───────┤ each day         ──▶ hour    the same
//!                                                                              └ at once          ──▶ marks   fdatasync, then told
//! ```
//!
//! **Identity** is an object's name and slot ([`Key`]), never a pid; a restart is a [`Mark`]. **Time** is one clock of seconds for all. **Values**
//! are integers: CPU in units of 100 µs, memory in KiB, counters as they are. What is told of a counter is its increase a
//! second, resets and gaps seen to (`fold`).
//!
//! **What a crash costs**: at most the open minute of samples, no mark that was told to be on disk. Every frame has a checksum; damage costs
//! the frame it is in. **What a full disk costs**: samples, which are counted. Nobody waits for it.
//!
//! **Which calls block**: [`Series::open`], tickets' `wait`, and all of [`Reader`] that returns an `io::Result` (and [`Reader::metrics`]). The rest is memory.
//!
//! Design and figures: `docs/design/009-series.md`.

mod body;
mod bytes;
mod counts;
mod disk;
mod fold;
mod frame;
mod group;
mod index;
mod key;
mod mark;
mod minute;
mod options;
mod reader;
mod segment;
mod series;
mod sketch;
mod summary;
pub mod text;
mod view;

pub use body::ABSENT;
pub use counts::Counts;
pub use disk::{MarkError, OpenError};
pub use key::{Key, KeyError, Kind, METRICS_MAX, Metric, NAME_MAX, Schema, Tick};
pub use mark::{Mark, What};
pub use options::{Keep, Options, SERIES_MAX};
pub use reader::{Bar, Reader, Stats, Tier};
pub use series::{MarkTicket, ObjectId, Refused, Series, SettleTicket};
pub use sketch::{ALPHA, Sketch};
pub use summary::{Cell, OBSERVED_MAX, Summary};
