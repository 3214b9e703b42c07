//! The audit log: who wanted to run what, what was decided, and how it ended, so that it can't be quietly edited.
//!
//! ```text
//! append(record) ─▶ bounded queue ─▶ writer thread: line, chain ─▶ write ─▶ fdatasync ─▶ signed head ─▶ acknowledged
//!                                        │ every N records or T seconds, at rotation and at the end
//!                                        └▶ checkpoint: signed, in the log and in the witness folder
//! ```
//!
//! A log is a folder of segments. A segment is a text file of lines; a line is one JSON object in one fixed form
//! ([`canonical`]), printable ASCII only, so that nothing a caller says can forge a line or steer a terminal. Each line
//! has the number `seq` and in `prev` the SHA-256 of the line before it (newline included: `sed -n 5p FILE | sha256sum`).
//! A segment's first line names the segment and goes on with the chain of the one before.
//!
//! A chain alone proves nothing to whom the whole file was rewritten for, and says nothing of a tail that was cut. So heads of the
//! chain are signed ([`Seal`]): in checkpoints within the log, and with every group commit in the file `head` of the
//! log's folder and of the **witness**, a second folder, best on a file system that the machine's users can't write.
//!
//! **No audit, no execution**: once a write, an fsync or a seal fails, the log is down, and every append fails at once by
//! [`AuditError::Down`] until [`Log::reopen`].
//!
//! `log` writes, `verify` checks, `read` searches, follows and exports; the last two need no key but the public one.

pub mod canonical;
mod entry;
mod error;
mod export;
mod follow;
mod hash;
mod keys;
mod line;
mod log;
mod read;
mod record;
mod seal;
mod segment;
mod text;
pub mod verify;
mod witness;
pub mod words;

pub use entry::{Entry, EntryError, Event};
pub use error::AuditError;
pub use export::CsvRow;
pub use follow::Follow;
pub use hash::{Hash, LogId};
pub use keys::{PublicKey, PublicKeyError, SecretDigests};
pub use log::{Log, LogStats, Options, Receipt, Retention};
pub use read::{Filter, Found, ReadError, Reader};
pub use record::{
    Append, Breach, Degraded, Denied, Ending, Handling, Incident, IncidentState, Intent, Limits,
    Outcome, Own, PolicyLoaded, Principal, Program, Record, Recovered, Retired, RunId,
    SegmentStart, Severity, Started, Stopped, Usage, Why,
};
pub use seal::Seal;
pub use text::{Arg, Text};

/// Version of the record format, in every line. Within a version keys and events are only added.
pub const FORMAT: u32 = 1;
/// Bytes of one line: more than any command line that a policy lets pass, little enough to read into memory.
pub const LINE_MAX: usize = 256 << 10;
