//! Attacks in which it matters what happens when: two at once, ends of daemon and keeper, a full disk, another time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use super::Verdict;
use super::daemon::Daemon;
use super::extra::{Judged, LIMITED, Story, limited, story};
use super::play::{BEGAN, PWNED};
use super::policies::is_denied;
use crate::sh;

pub(super) const STORIES: [Story; 8] = [
    story("F09", "output held open by what it leaves behind", held),
    story("R07d", "memory of the daemon under a flood", flood),
    story("J03", "two at once by two connections", twice),
    Story { alone: true, ..story("J04", "the clock an hour back and forth", clock) },
    story("J08", "a full disk under the log", full),
    story("F11", "the daemon killed: what it started ends", orphan),
    story("F11k", "the keeper killed: what it started ends", keeperless),
    story("J09", "the daemon killed between intent and outcome", killed),
];

/// Killed processes, their trees and a new daemon: seconds on a loaded machine, minutes in an emulated one.
const SOON: Duration = Duration::from_secs(60);

/// A command that is at work.
struct Working(Child);

impl Working {
    /// Starts it and waits until it says that it has begun.
    fn start(daemon: &Daemon<'_>, args: &[&str]) -> Result<Self> {
        let mut command = daemon.command(args)?;
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("its output is a pipe")?;
        let mut lines = BufReader::new(out).lines();
        let began = lines.find(|line| line.as_ref().map_or(true, |line| line == BEGAN));
        began.context("it ended before it began")??;
        Ok(Self(child))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes whose arguments end like this, wherever they run.
fn with_args(end: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.trim_end().ends_with(end) && !line.contains(" exec ")
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// All of them ended by then.
fn end_soon(pids: &[Pid]) -> Result<bool> {
    let timeout = Timespec { tv_sec: i64::try_from(SOON.as_secs())?, tv_nsec: 0 };
    for pid in pids {
        // One that can't be opened has ended.
        let Ok(pidfd) = pidfd_open(*pid, PidfdFlags::empty()) else { continue };
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))? == 0 {
            let _ = kill_process(*pid, Signal::KILL);
            return Ok(false);
        }
    }
    Ok(true)
}

fn kill(pid: i32) -> Result<()> {
    Ok(kill_process(Pid::from_raw(pid).context("a process has a number")?, Signal::KILL)?)
}

/// Whoever reads its output to its end waits for what holds it; ganger does not.
fn held(daemon: &Daemon<'_>) -> Judged {
    /// What is left behind lives for 20 s.
    const LONG: Duration = Duration::from_secs(10);
    let control = daemon.run(&["timeout", "2", "sh", "-c", "{self} hold | cat"], "control")?;
    if control.code != Some(124) {
        return Ok((Verdict::Void, control.text));
    }
    daemon.fresh()?;
    let began = Instant::now();
    let said = daemon.verb(&["exec", "hold", "--", "hold"])?;
    let took = began.elapsed();
    let ended = daemon.fresh()?.iter().any(|it| it["event"] == "outcome");
    Ok(if took > LONG {
        (Verdict::Hole, format!("{}\nended after {took:?}", said.text))
    } else if ended && said.has_line("left one behind") {
        (Verdict::Blocked, format!("{}\nended after {} ms", said.text, took.as_millis()))
    } else {
        (Verdict::Unshown, said.text)
    })
}

/// What is cut is not kept either.
fn flood(daemon: &Daemon<'_>) -> Judged {
    /// Twice what may be said (1 MiB), and as much again for an allocator's pages.
    const MOST_KIB: u64 = 4 << 10;
    let pid = daemon.pid_of("daemon")?;
    let resident = || -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|text| text.split_whitespace().next());
        Ok(kib.context("a process has a peak")?.parse()?)
    };
    // The first run is what everything takes.
    daemon.verb(&["exec", "wall-r07", "--", "flood", "16"])?;
    let before = resident()?;
    let said = daemon.verb(&["exec", "wall-r07", "--", "flood", "256"])?;
    let grown = resident()?.saturating_sub(before);
    let text = format!("grown by {grown} KiB while 256 MiB were said");
    Ok(if said.code != Some(137) {
        (Verdict::Unshown, said.text)
    } else if grown > MOST_KIB {
        (Verdict::Hole, text)
    } else {
        (Verdict::Blocked, text)
    })
}

/// The first is the control: it runs.
fn twice(daemon: &Daemon<'_>) -> Judged {
    let first = Working::start(daemon, &["exec", "outlive", "--", "outlive", "43"])?;
    daemon.fresh()?;
    let second = daemon.verb(&["exec", "outlive", "--", "outlive", "1"])?;
    let denied = is_denied(&daemon.fresh()?, "running");
    let pids = with_args("outlive 43");
    drop(first);
    // Whoever asked is gone: so is what was asked for.
    let gone = end_soon(&pids)?;
    Ok(if second.has_line(PWNED) {
        (Verdict::Hole, second.text)
    } else if second.code == Some(LIMITED) && denied && gone && !pids.is_empty() {
        (Verdict::Blocked, second.text)
    } else {
        (Verdict::Unshown, format!("{}\nrecorded {denied}, ended {gone} of {pids:?}", second.text))
    })
}

fn clock(daemon: &Daemon<'_>) -> Judged {
    fn forward(hours: i64) -> Result<()> {
        let clock = rustix::time::ClockId::Realtime;
        let mut now = rustix::time::clock_gettime(clock);
        now.tv_sec += hours * 3_600;
        Ok(rustix::time::clock_settime(clock, now)?)
    }
    let (verdict, text) = limited(daemon, "hourly", || forward(2))?;
    forward(-3)?;
    let back = daemon.verb(&["exec", "hourly", "--", "say"])?;
    let log = daemon.verb(&["audit", "verify"])?;
    forward(1)?;
    Ok(if back.has_line(PWNED) {
        (Verdict::Hole, back.text)
    } else if log.code != Some(0) || back.code != Some(LIMITED) {
        (Verdict::Unshown, format!("{text}{}{}", back.text, log.text))
    } else {
        (verdict, text)
    })
}

/// A mount that goes with its end.
struct Mount(std::path::PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = sh::capture(std::process::Command::new("umount").arg("-l").arg(&self.0));
    }
}

const SAY: &str = "version = 1\n[policy.say]\nprogram = \"{self}\"\nsubcommand = [\"say\"]\ndashes = false\n\
    [policy.outlive]\nprogram = \"{self}\"\nsubcommand = [\"outlive\"]\ndashes = false\nargs = [{ int = \"1..60\" }]\n";

/// The control is the first run, while there is room.
fn full(daemon: &Daemon<'_>) -> Judged {
    let stage = daemon.stage();
    if !rustix::process::geteuid().is_root() {
        return Ok((Verdict::Skipped, "only root can mount a small disk".to_owned()));
    }
    stage.folder("full")?;
    stage.folder("full/.ganger")?;
    let disk = stage.folder("full/.ganger/audit")?;
    let owner = stage.owner();
    let mut mount = std::process::Command::new("mount");
    mount.args([
        "-t",
        "tmpfs",
        "-o",
        &format!("size=256k,mode=700,uid={owner},gid={owner}"),
        "none",
    ]);
    sh::capture(mount.arg(&disk))?;
    let _mounted = Mount(disk.clone());
    let (small, up) = Daemon::up(stage, "full", &stage.filled(SAY, None)?, &[])?;
    let first = small.verb(&["exec", "say", "--", "say"])?;
    if up.code != Some(0) || !first.has_line(PWNED) {
        return Ok((Verdict::Void, format!("{}{}", up.text, first.text)));
    }
    // Until nothing more fits; the error is what is wanted.
    let _full = fs::write(disk.join("filler"), vec![0u8; 1 << 20]);
    // A last page may have room for an intent or two: what runs by it is announced, and is the last.
    const TRIES: usize = 6;
    let tries: Vec<_> =
        (0..TRIES).map(|_| small.verb(&["exec", "say", "--", "say"])).collect::<Result<_>>()?;
    fs::remove_file(disk.join("filler"))?;
    let ran = 1 + tries.iter().filter(|said| said.has_line(BEGAN)).count();
    let announced = small.all()?.iter().filter(|it| it["event"] == "intent").count();
    let text = tries.last().map(|said| said.text.clone()).unwrap_or_default();
    let refused =
        tries.last().is_some_and(|said| said.code == Some(125)) && text.contains("no_audit");
    Ok(if ran > announced || ran > TRIES {
        (Verdict::Hole, format!("{text}\n{ran} ran, {announced} are announced"))
    } else if refused {
        (Verdict::Blocked, text)
    } else {
        (Verdict::Unshown, text)
    })
}

/// The control: what a shell leaves behind lives on when the shell is killed.
fn orphan(daemon: &Daemon<'_>) -> Judged {
    let line = "{self} outlive 44; true";
    let mut shell = daemon.stage().command("sh", &["-c", line], "control")?;
    let mut shell = shell.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(shell.stdout.take().context("its output is a pipe")?).read_line(&mut line)?;
    shell.kill()?;
    shell.wait()?;
    let left = with_args("outlive 44");
    for pid in &left {
        let _ = kill_process(*pid, Signal::KILL);
    }
    if left.is_empty() {
        return Ok((Verdict::Void, "a killed shell leaves nothing behind".to_owned()));
    }
    daemon.fresh()?;
    let working = Working::start(daemon, &["exec", "outlive", "--", "outlive", "45"])?;
    let pids = with_args("outlive 45");
    ensure!(!pids.is_empty(), "what runs can't be found");
    kill(daemon.pid_of("daemon")?)?;
    let gone = end_soon(&pids)?;
    drop(working);
    let ended = ended(daemon, 1)?;
    Ok(match (gone, ended) {
        (false, _) => (Verdict::Hole, format!("{pids:?} live on")),
        (true, Some(how)) => (Verdict::Blocked, format!("recorded: {how}")),
        (true, None) => (Verdict::Unshown, "its end is not recorded".to_owned()),
    })
}

/// The ends of what the next daemon found, once there are so many.
fn ended(daemon: &Daemon<'_>, wanted: usize) -> Result<Option<String>> {
    let until = Instant::now() + SOON;
    let mut outcomes: Vec<Value> = Vec::new();
    while outcomes.len() < wanted {
        if Instant::now() > until {
            return Ok(None);
        }
        // It answers once it has looked at what the one before it left.
        daemon.verb(&["status"])?;
        let new = daemon.fresh()?.into_iter();
        outcomes.extend(new.filter(|record| record["event"] == "outcome"));
    }
    Ok(outcomes.last().map(|record| record["body"]["end"].to_string()))
}

fn keeperless(daemon: &Daemon<'_>) -> Judged {
    let stage = daemon.stage();
    let (lone, up) = Daemon::up(stage, "keeperless", &stage.filled(SAY, None)?, &[])?;
    if up.code != Some(0) {
        return Ok((Verdict::Unshown, up.text));
    }
    let working = Working::start(&lone, &["exec", "outlive", "--", "outlive", "46"])?;
    let pids = with_args("outlive 46");
    ensure!(!pids.is_empty(), "what runs can't be found");
    kill(lone.pid_of("keeper")?)?;
    let gone = end_soon(&pids)?;
    drop(working);
    let verdict = if gone { Verdict::Blocked } else { Verdict::Hole };
    Ok((verdict, format!("{} processes ended", pids.len())))
}

/// Killed at other moments of a run each time: no intent stays without an end, and none has two.
fn killed(daemon: &Daemon<'_>) -> Judged {
    const KILLS: u64 = 12;
    /// A run takes some 10 ms until its program runs.
    const STEP: Duration = Duration::from_millis(2);
    daemon.fresh()?;
    let before = daemon.all()?.len();
    for n in 0..KILLS {
        let pid = daemon.pid_of("daemon")?;
        let mut asked = daemon.command(&["exec", "outlive", "--", "outlive", "1"])?;
        let mut asked = asked.stdout(Stdio::null()).spawn()?;
        std::thread::sleep(STEP * u32::try_from(n)?);
        kill(pid)?;
        asked.wait()?;
        daemon.verb(&["up", "-d"])?;
    }
    let until = Instant::now() + SOON;
    let (intents, open) = loop {
        let log = daemon.all()?;
        let new = log.get(before..).context("the log has become shorter")?;
        let of = |event: &str| -> Vec<&Value> {
            new.iter().filter(|it| it["event"] == event).map(|it| &it["run"]).collect()
        };
        let (intents, outcomes) = (of("intent"), of("outcome"));
        let ends = |run: &Value| outcomes.iter().filter(|it| **it == run).count();
        let open = intents.iter().filter(|run| ends(run) != 1).count();
        if open == 0 || Instant::now() > until {
            break (intents.len(), open);
        }
        daemon.verb(&["status"])?;
    };
    let left = end_soon(&with_args("outlive 1"))?;
    let log = daemon.verb(&["audit", "verify"])?;
    let text = format!("{KILLS} kills: {intents} intents, {open} without one end; {}", log.text);
    let right = open == 0 && left && log.code == Some(0) && intents > 0;
    Ok((if right { Verdict::Blocked } else { Verdict::Hole }, text))
}
