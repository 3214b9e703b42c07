//! What children say: the mover process, segments, index, rotation, reading and searching.
//!
//! ```text
//! child ── pipe ──▶ mover (splice) ──▶ NAME/SLOT/STREAM/<first byte>.seg   raw bytes, nothing added
//!                          └─────────▶ NAME/SLOT/STREAM/<first byte>.idx   (offset, time) of each chunk
//! reader ◀── files only: it works without keeper, logger or daemon
//! ```
//!
//! Offsets count the bytes of a stream since it first spoke; they never start again, so a missing range of offsets
//! *is* the count of what was lost. The mover never looks at bytes and readers never write.

mod layout;
pub mod mover;
pub mod read;
mod stamp;

pub use mover::MoverError;
pub use read::{Follow, Line, Lines, LogReader, Query, ReadError};
