//! A thousand services that can't live: the cost, the rate of starts, and what their neighbours notice.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::probe::{Probe, SCRIPT, Spread};
use crate::bench::{new_table, right_align};
use crate::ganger::Ganger;

const LOOPS: usize = 1_000;
const NEIGHBOURS: usize = 50;
const WINDOW: Duration = Duration::from_secs(30);
const KILLS: usize = 50;
/// What they may cost, in cores; and the budget of restarts as it comes, a second and at once.
const CORES: f64 = 0.3;
const BUDGET: (f64, f64) = (50.0, 200.0);

/// How the thousand are restarted.
const RULES: [(&str, &str); 2] = [
    ("as it comes", ""),
    (
        "no wait, no breaker",
        "restart = { on = \"always\", backoff = \"0s..0s\", max = 4096, within = \"1s\" }\n",
    ),
];

/// Runs both and prints the table.
pub(super) fn loops(binary: &Path, tools: &Path) -> Result<()> {
    let mut table = new_table(&[
        "1,000 crash loops",
        "cores of ganger",
        "starts/s",
        "neighbour's restart p50, ms",
        "p99",
        "neighbours hit",
        "aim",
    ]);
    for (name, rule) in RULES {
        let seen = run(binary, tools, rule)?;
        let met = seen.cores <= CORES && seen.hit == 0;
        let ms = |share| format!("{:.2}", seen.restarts.at(share).unwrap_or(f64::NAN));
        table.add_row([
            name.to_owned(),
            format!("{:.2}", seen.cores),
            format!("{:.1}", seen.starts),
            ms(0.5),
            ms(0.99),
            seen.hit.to_string(),
            format!("{CORES} cores, {} starts/s{}", BUDGET.0, if met { "" } else { "  missed" }),
        ]);
    }
    right_align(&mut table, 1..6);
    println!("{table}");
    println!("starts/s over {WINDOW:?} with the burst of {} before it", BUDGET.1);
    Ok(())
}

struct Seen {
    cores: f64,
    starts: f64,
    restarts: Spread,
    /// Neighbours whose pid is not what it was.
    hit: usize,
}

fn run(binary: &Path, tools: &Path, rule: &str) -> Result<Seen> {
    let folder = tempfile::Builder::new().prefix("loops-").tempdir_in(tools)?;
    let mut probe = Probe::new(folder.path())?;
    let mut text = format!(
        "version = 1\n[service.probe]\npriority = \"high\"\ncommand = [\"/bin/sh\", {:?}]\n\
         restart = {{ on = \"always\", backoff = \"0s..0s\", max = 4096, within = \"1s\" }}\n",
        folder.path().join(SCRIPT)
    );
    for n in 1..=NEIGHBOURS {
        let _ = write!(text, "[service.calm{n}]\ncommand = [\"sleep\", \"1000000\"]\n");
    }
    for n in 1..=LOOPS {
        let _ = write!(text, "[service.loop{n}]\ncommand = [\"false\"]\n{rule}");
    }
    std::fs::write(folder.path().join("ganger.toml"), text)?;
    let ganger = Ganger::new(binary.to_path_buf(), folder.path().to_path_buf());
    ganger.up()?;
    let seen = watched(&ganger, &mut probe);
    ganger.down()?;
    seen
}

fn watched(ganger: &Ganger, probe: &mut Probe) -> Result<Seen> {
    let first = probe.line().context("the probe was not started")?;
    // The burst is over once the budget of a few seconds is.
    std::thread::sleep(Duration::from_secs(5));
    let status = ganger.status()?;
    let own = [Some(status.daemon), Some(status.keeper), status.logger];
    let own: Vec<i32> = own.into_iter().flatten().map(|process| process.pid).collect();
    let before = ganger.ps()?;
    let (since, ticks) = (Instant::now(), cpu_seconds(&own)?);
    std::thread::sleep(WINDOW);
    let (cores, window) = (cpu_seconds(&own)? - ticks, since.elapsed().as_secs_f64());
    let after = ganger.ps()?;
    let mut restarts = Spread::default();
    restarts.extend(probe.killed(first, KILLS)?);
    let total = |all: &[crate::ganger::Instance]| {
        let looping = all.iter().filter(|instance| instance.name.starts_with("loop"));
        looping.map(|instance| instance.restarts).sum::<u64>()
    };
    let last = ganger.ps()?;
    let calm = |all: &[crate::ganger::Instance]| {
        let calm = all.iter().filter(|instance| instance.name.starts_with("calm"));
        calm.map(|instance| (instance.name.clone(), instance.pid)).collect::<Vec<_>>()
    };
    let (were, are) = (calm(&before), calm(&last));
    ensure!(were.len() == NEIGHBOURS, "{} of {NEIGHBOURS} neighbours are listed", were.len());
    let hit = were.iter().filter(|one| one.1.is_none() || !are.contains(one)).count();
    let starts = total(&after).saturating_sub(total(&before)) as f64 / window;
    Ok(Seen { cores: cores / window, starts, restarts, hit })
}

/// User and system time of these processes without their children's (proc_pid_stat(5), fields 14 and 15).
fn cpu_seconds(pids: &[i32]) -> Result<f64> {
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut ticks = 0;
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(") ").context("a stat without a name")?;
        // The state is field 3.
        let times = fields.split(' ').skip(14 - 3).take(2);
        ticks += times.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks as f64 / per_second)
}
