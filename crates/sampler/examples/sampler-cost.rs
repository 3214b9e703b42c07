//! What a second of sampling costs: `cargo run --release -p ganger-sampler --example sampler-cost [PROCESSES] [idle|busy] [TICKS]`.
//!
//! Starts the processes (this program again; a busy one uses 0.5 ms of processor time a second), ticks once a second and prints one line
//! of JSON with the median and the worst of the ticks' processor time and wall time. With `hold` behind it, it then says the numbers of
//! its children and waits for the end of its input, so that others can be measured on the same processes.
#![expect(clippy::print_stdout, reason = "a bench prints")]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ganger_sampler::{Options, Sampler, Watch};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |n: usize, other: &'static str| args.get(n).map_or(other, String::as_str).to_owned();
    match arg(0, "1000").as_str() {
        "be-idle" => be(false),
        "be-busy" => be(true),
        count => {
            let (kind, ticks) = (arg(1, "idle"), arg(2, "30").parse()?);
            bench(count.parse()?, &kind, ticks, args.get(3).is_some_and(|word| word == "hold"))
        }
    }
}

/// What a child is: until its input ends.
fn be(busy: bool) -> Fallible<()> {
    println!("up");
    std::io::stdout().flush()?;
    let stdin = std::io::stdin();
    if !busy {
        let _ = stdin.lock().read(&mut [0; 1])?;
        return Ok(());
    }
    // Not all in the same moment of the second.
    let offset = Duration::from_micros(u64::from(std::process::id()) * 7_919 % 1_000_000);
    let mut wait = offset;
    loop {
        let timeout = rustix::fs::Timespec::try_from(wait)?;
        let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
        if rustix::event::poll(&mut fds, Some(&timeout))? > 0 {
            return Ok(());
        }
        let before = ganger_sys::cputime::this_thread();
        while ganger_sys::cputime::this_thread() < before + 500_000 {}
        wait = Duration::from_secs(1);
    }
}

fn start(count: usize, kind: &str) -> Fallible<Vec<Child>> {
    let own = std::env::current_exe()?;
    let mut children = Vec::new();
    for _ in 0..count {
        let mut command = Command::new(&own);
        command.arg(format!("be-{kind}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        // It is up when it says so; its pipe is not kept: descriptors are for the sampler.
        child.stdout.take().ok_or("no pipe")?.read_exact(&mut [0; 3])?;
        children.push(child);
    }
    Ok(children)
}

fn bench(count: usize, kind: &str, ticks: usize, hold: bool) -> Fallible<()> {
    let children = start(count, kind)?;
    let began = Instant::now();
    let mut sampler = Sampler::new(Options::default(), began)?;
    for (slot, child) in children.iter().enumerate() {
        sampler.watch(Watch {
            name: "bench".into(),
            slot: u32::try_from(slot)?,
            pid: child.id(),
            pidfd: None,
            cgroup: None,
            mark: None,
            descendants: true,
        })?;
    }
    let (mut cpu, mut wall, mut read, mut kept, mut listed) = (vec![], vec![], vec![], 0, 0);
    for n in 0..ticks + 2 {
        let due = began + Duration::from_secs(n as u64);
        let left = due.saturating_duration_since(Instant::now());
        rustix::event::poll(&mut [], Some(&rustix::fs::Timespec::try_from(left)?))?;
        let before = Instant::now();
        let sample = sampler.tick(before);
        // The first ones find everybody and read everything.
        if n >= 2 {
            cpu.push(sample.cost.cpu_ns as f64 / 1e6);
            read.push(f64::from(sample.cost.read));
            wall.push(before.elapsed().as_secs_f64() * 1e3);
            kept = sample.cost.descriptors;
            listed += usize::from(sample.cost.listed);
        }
    }
    let mean = cpu.iter().sum::<f64>() / cpu.len() as f64;
    println!(
        "{{\"processes\":{count},\"kind\":\"{kind}\",\"ticks\":{ticks},\"cpu_ms_mean\":{mean:.3},\"cpu_ms_median\":{:.3},\
         \"cpu_ms_max\":{:.3},\"wall_ms_median\":{:.3},\"wall_ms_max\":{:.3},\"read_median\":{},\"listed\":{listed},\
         \"descriptors\":{kept},\"core_percent\":{:.3}}}",
        quantile(&mut cpu, 0.5),
        quantile(&mut cpu, 1.0),
        quantile(&mut wall, 0.5),
        quantile(&mut wall, 1.0),
        quantile(&mut read, 0.5),
        mean / 10.0,
    );
    if hold {
        let pids: Vec<String> = children.iter().map(|child| child.id().to_string()).collect();
        println!("{}", pids.join(" "));
        std::io::stdout().flush()?;
        let _ = std::io::stdin().read(&mut [0; 1])?;
    }
    for mut child in children {
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(())
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * q) as usize).copied().unwrap_or(0.0)
}
