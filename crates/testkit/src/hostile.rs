//! Child programs that behave badly, or just visibly. Each is a bin of this crate and callable from a test binary that
//! re-executes itself. They sleep and spin on purpose: that is what they are for.

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ganger_sys::signal::SignalFd;

const SIGTERM: i32 = 15;
/// How long a generation of [`reforker`] lives.
const GENERATION: Duration = Duration::from_millis(5);

/// A program of this module by name. `before` are arguments that lead a re-executed binary back to it.
#[must_use]
pub fn run(name: &str, before: &[String], args: &[String]) -> Option<ExitCode> {
    let result = match name {
        "reforker" => reforker(before, args),
        "deaf" => deaf(),
        "flood" => flood(),
        "counter" => counter(args),
        "firehose" => firehose(args),
        "holder" => holder(before, args),
        "report" => report(),
        "eater" => eater(args),
        _ => return None,
    };
    Some(match result {
        Ok(code) => ExitCode::from(code),
        // A reader that went away ends a printer.
        Err(_) => ExitCode::FAILURE,
    })
}

/// For the bins: runs the program of the bin's name.
#[must_use]
pub fn main(name: &str) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    run(name, &[], &args).unwrap_or(ExitCode::FAILURE)
}

fn again(before: &[String], args: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(before).args(args).stdin(Stdio::null());
    Ok(command)
}

/// Blocks SIGTERM, which to the sender looks like ignoring it; held for the life of the process.
fn ignore_term() -> io::Result<SignalFd> {
    SignalFd::block(&[SIGTERM])
}

/// Double-forks, calls setsid, ignores SIGTERM and re-forks every 5 ms. The main process stays (ignoring SIGTERM too),
/// unless the first argument is `leave`, or `fail` for exit code 3.
fn reforker(before: &[String], args: &[String]) -> io::Result<u8> {
    let _deaf = ignore_term()?;
    let mode = args.first().map_or("stay", String::as_str);
    match mode {
        "generation" => {
            // Refused for a group leader only, which a spawned process is not.
            let _ = rustix::process::setsid();
            std::thread::sleep(GENERATION);
            again(before, &["generation"])?.spawn()?;
            Ok(0)
        }
        "middle" => {
            again(before, &["generation"])?.spawn()?;
            Ok(0)
        }
        mode => {
            again(before, &["middle"])?.spawn()?.wait()?;
            say("forked")?;
            match mode {
                "leave" => Ok(0),
                "fail" => Ok(3),
                _ => loop {
                    std::thread::park();
                },
            }
        }
    }
}

/// Ignores SIGTERM and stays.
fn deaf() -> io::Result<u8> {
    let _deaf = ignore_term()?;
    say("deaf")?;
    loop {
        std::thread::park();
    }
}

/// Writes to stdout as fast as it can, until nobody reads.
fn flood() -> io::Result<u8> {
    let block = [b'x'; 65_536];
    let mut out = io::stdout().lock();
    loop {
        out.write_all(&block)?;
    }
}

/// Prints 0, 1, 2, … one a line, every `args[0]` microseconds (1,000), `args[1]` times (for ever).
fn counter(args: &[String]) -> io::Result<u8> {
    let number =
        |at: usize, default: u64| args.get(at).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (gap, times) = (Duration::from_micros(number(0, 1000)), number(1, u64::MAX));
    let mut out = io::stdout().lock();
    for n in 0..times {
        writeln!(out, "{n}")?;
        out.flush()?;
        std::thread::sleep(gap);
    }
    Ok(0)
}

/// Prints numbered 100-byte lines at `args[0]` bytes a second (10 MB).
fn firehose(args: &[String]) -> io::Result<u8> {
    let rate: u64 = args.first().and_then(|n| n.parse().ok()).unwrap_or(10_000_000);
    const LINE: u64 = 100;
    let begun = Instant::now();
    let mut out = io::BufWriter::with_capacity(65_536, io::stdout().lock());
    for n in 0u64.. {
        writeln!(out, "{n:020} {}", "=".repeat(LINE as usize - 22))?;
        let due = Duration::from_micros((n + 1) * LINE * 1_000_000 / rate.max(1));
        if let Some(ahead) = due.checked_sub(begun.elapsed())
            && ahead > Duration::from_millis(2)
        {
            out.flush()?;
            std::thread::sleep(ahead);
        }
    }
    Ok(0)
}

/// Exits at once and leaves a child that holds stdout open.
fn holder(before: &[String], args: &[String]) -> io::Result<u8> {
    if args.first().map(String::as_str) == Some("hold") {
        say("holding")?;
        loop {
            std::thread::park();
        }
    }
    again(before, &["hold"])?.spawn()?;
    say("left")?;
    Ok(0)
}

/// Prints its environment (`env NAME=value`), its descriptors (`fd N target`), its ids and limits, then exits.
fn report() -> io::Result<u8> {
    let mut out = io::stdout().lock();
    let mut fds: Vec<(i32, String)> = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_string_lossy().parse().unwrap_or(-1);
        fds.push((number, target.to_string_lossy().into_owned()));
    }
    fds.sort();
    // The descriptor of the listing itself is gone by now.
    fds.retain(|(number, _)| std::path::Path::new(&format!("/proc/self/fd/{number}")).exists());
    for (number, target) in fds {
        writeln!(out, "fd {number} {target}")?;
    }
    for (name, value) in std::env::vars_os() {
        writeln!(out, "env {}={}", name.to_string_lossy(), value.to_string_lossy())?;
    }
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    writeln!(out, "uid {}\ngid {}", uid.as_raw(), gid.as_raw())?;
    writeln!(out, "cwd {}", std::env::current_dir()?.display())?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    for line in status.lines().filter(|line| line.starts_with("Sig") || line.starts_with("NoNew")) {
        writeln!(out, "status {line}")?;
    }
    Ok(0)
}

/// Touches `args[0]` MiB of memory (1,024), then says so and stays.
fn eater(args: &[String]) -> io::Result<u8> {
    let mib: usize = args.first().and_then(|n| n.parse().ok()).unwrap_or(1024);
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    for n in 0..mib {
        eaten.push(vec![n as u8 | 1; 1 << 20]);
    }
    say(&format!("ate {}", eaten.len()))?;
    loop {
        std::thread::park();
    }
}

fn say(what: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}")?;
    out.flush()
}
