//! What a start costs beside many open descriptors: by a copy of the whole table, and of its low part (`cargo xtask bench spawn`).
//!
//! The clock runs from the call until the program has ended: the child closes the copies as it execs, after the call has returned.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool of developers")]

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::Instant;

use ganger_core::End;
use ganger_sys::spawn::{LowNumbers, Spec};
use rustix::event::{PollFd, PollFlags, eventfd, poll};

const OPEN: [usize; 3] = [0, 1_000, 5_000];
const STARTS: usize = 300;
const PROGRAM: &str = "/bin/true";

fn main() {
    let mut low = LowNumbers::reserve().inspect_err(|error| println!("only copies: {error}")).ok();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    println!("{:>8}  {:>22}  {:>22}", "open", "whole table, us", "low part, us");
    println!("{:>8}  {:>10}  {:>10}  {:>10}  {:>10}", "", "p50", "p99", "p50", "p99");
    for open in OPEN {
        // Each of its own: what is copied and closed is counted in each file.
        let flags = rustix::event::EventfdFlags::CLOEXEC;
        let held: Vec<OwnedFd> = (0..open).map(|_| eventfd(0, flags).unwrap()).collect();
        let (mut copied, mut shared) = (Vec::new(), Vec::new());
        // In turn, so that a busy moment hits both.
        for _ in 0..STARTS {
            copied.push(start(None));
            shared.extend(low.as_mut().map(|low| start(Some(low))));
        }
        let (c50, c99) = spread(copied);
        let (s50, s99) = spread(shared);
        println!("{open:>8}  {c50:>10.0}  {c99:>10.0}  {s50:>10.0}  {s99:>10.0}");
        drop(held);
    }
}

/// Microseconds.
fn start(low: Option<&mut LowNumbers>) -> f64 {
    let program = CString::new(PROGRAM).unwrap();
    let mut spec = Spec::new(program.clone(), vec![program]);
    spec.fast = true;
    let since = Instant::now();
    let child = match low {
        Some(low) => spec.spawn_low(low),
        None => spec.spawn(),
    };
    let child = child.unwrap();
    poll(&mut [PollFd::new(&child.pidfd, PollFlags::IN)], None).unwrap();
    let took = since.elapsed();
    let (status, _) = ganger_sys::reap::wait(child.pid).unwrap().unwrap();
    assert_eq!(status.end(ganger_core::SignalSource::Unknown), End::Exited { code: 0 });
    took.as_secs_f64() * 1e6
}

fn spread(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or(f64::NAN)
    };
    (at(0.5), at(0.99))
}
