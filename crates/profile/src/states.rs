//! Without perf: what `/proc` says each thread is at, as often as was asked for.
//!
//! Everybody may read their own processes' states. It tells what threads wait for, and in which share of the time they run or
//! are ready to; it knows no functions, and misses what is shorter than the time between two looks.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::profile::{Frame, FrameKind, Meta, Method, Profile};
use crate::sampler::{Progress, Watch, Wish};
use crate::{ProfileError, target};

/// Threads looked at each time.
const MOST_THREADS: usize = 4_096;

pub(crate) fn record(
    wish: &Wish,
    why: &str,
    progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Profile, ProfileError> {
    let began = Instant::now();
    let every = Duration::from_secs(1) / wish.hertz;
    let mut watch = Watch::new(&wish.pids);
    let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    let (mut samples, mut next, mut told) = (0, began, began);
    let (mut processes, mut threads) = (0, 0);
    let mut pids = target::tree(&wish.pids);
    loop {
        let elapsed = began.elapsed();
        if elapsed >= wish.time {
            break;
        }
        if told.elapsed() >= Duration::from_millis(100) {
            told = Instant::now();
            pids = target::tree(&wish.pids);
            if progress(Progress { elapsed, samples }).is_break() {
                break;
            }
        }
        let seen: Vec<Vec<String>> = pids
            .iter()
            .flat_map(|pid| target::threads(*pid).map(move |tid| (*pid, tid)))
            .take(MOST_THREADS)
            .filter_map(|(pid, tid)| look(pid, tid))
            .collect();
        (processes, threads) = (processes.max(pids.len()), threads.max(seen.len()));
        samples += seen.len() as u64;
        for stack in seen {
            *counts.entry(stack).or_default() += 1;
        }
        next += every;
        if watch.wait(next.saturating_duration_since(Instant::now()))? {
            break;
        }
    }
    let notes = vec![
        why.to_owned(),
        "states from /proc instead: what threads wait for, no functions, not only processor time"
            .to_owned(),
    ];
    let meta = Meta {
        method: Method::States,
        kernel: false,
        hertz: wish.hertz,
        seconds: began.elapsed().as_secs_f64(),
        samples,
        lost: 0,
        beyond: 0,
        broken: 0,
        named: samples,
        processes,
        threads,
        notes,
    };
    let mut profile = Profile::new(meta);
    for (stack, count) in counts {
        let frames = stack.into_iter().enumerate().map(|(at, name)| Frame {
            name,
            module: String::new(),
            kind: if at == 0 { FrameKind::Process } else { FrameKind::State },
        });
        profile.add(frames, count);
    }
    Ok(profile)
}

/// Process, thread's state, and what it waits in where that may be read.
fn look(pid: u32, tid: u32) -> Option<Vec<String>> {
    let folder = format!("/proc/{pid}/task/{tid}");
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    let state = stat.get(stat.rfind(')')? + 2..)?.chars().next()?;
    let mut stack = vec![ganger_sys::proc::name(pid)?, said(state)?.to_owned()];
    if state != 'R' {
        let syscall = fs::read_to_string(format!("{folder}/syscall")).unwrap_or_default();
        let number = syscall.split(' ').next().and_then(|word| word.trim().parse::<u32>().ok());
        stack.extend(number.map(|number| format!("system call {number}")));
        let place = fs::read_to_string(format!("{folder}/wchan")).unwrap_or_default();
        if !matches!(place.as_str(), "" | "0") {
            stack.push(place);
        }
    }
    Some(stack)
}

/// proc_pid_stat(5); `None` for what has ended.
const fn said(state: char) -> Option<&'static str> {
    Some(match state {
        'R' => "runs or is ready to",
        'S' => "sleeps",
        'D' => "waits for a disk or the kernel",
        'T' | 't' => "is stopped",
        'I' => "is idle",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_sleeps_is_seen_sleeping_and_its_end_ends_it() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let wish = Wish { pids: vec![child.id()], time: Duration::from_secs(60), hertz: 500 };
        let mut samples = 0;
        let profile = record(&wish, "not allowed", &mut |told: Progress| {
            samples = told.samples;
            if samples > 20 {
                // Its input ends, and so does it.
                drop(child.stdin.take());
            }
            ControlFlow::Continue(())
        });
        let profile = profile.unwrap();
        child.wait().unwrap();
        assert!(profile.meta.seconds < 60.0 && profile.meta.samples >= samples);
        assert_eq!(profile.meta.method, Method::States);
        assert_eq!(profile.meta.notes[0], "not allowed");
        let top = profile.stacks();
        assert!(top.iter().any(|(stack, _)| stack.iter().any(|f| f.name == "sleeps")), "{top:?}");
    }
}
