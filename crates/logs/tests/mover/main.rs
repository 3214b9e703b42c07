//! The mover as a process of its own: killed, waited for, crowded, on a full disk.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod full_disk;
mod kill;
mod process;

#[test]
#[ignore = "it is the mover process of the other tests"]
fn mover_process() {
    process::be_mover();
}
