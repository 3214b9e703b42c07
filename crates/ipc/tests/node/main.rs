//! The wire of Node's channel and of its cluster protocol, proven with the Node that is installed.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "the whole program is a test")]

mod bad;
mod child;
mod cluster;
mod primary;
mod talk;
