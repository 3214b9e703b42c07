//! A ganger of a test's own: temporary folder, config text, the real binary.
//!
//! Nothing here waits by time: `up` returns on the keeper's word, events come over the socket, ends are pidfds. Dropping
//! it ends the keeper, the daemon and every process that carries this folder's marker, whatever state they are in.

mod folder;
mod procs;
mod stream;

pub use folder::{Said, TempDaemon};
pub use procs::{Process, alive, marked};
pub use stream::Lines;
