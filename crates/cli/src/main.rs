//! The `ganger` binary.
fn main() {}
