//! Measures the recording: bytes a sample, times, memory.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ganger_series::text::{Encoder, Family, Format, Type};
use ganger_series::{Key, Kind, Metric, Options, Reader, Schema, Series, Sketch};

use crate::record::METRICS;

/// Ten o'clock of a day in 2026: the start of an hour.
const START: i64 = 1_767_261_600;
/// Processes whose memory and times are told.
const PROCESSES: u32 = 1_000;

/// A process's rows by tick.
type Rows = BTreeMap<i64, [i64; 12]>;

fn schema() -> Schema {
    let metrics = METRICS.iter().map(|name| {
        let is_gauge = ["rss", "threads", "fds", "swap"].contains(name);
        let metric = Metric::new(name, if is_gauge { Kind::Gauge } else { Kind::Counter }).unwrap();
        if ["cpu", "rss"].contains(name) { metric.sketched() } else { metric }
    });
    Schema::new(metrics.collect()).unwrap()
}

fn load(file: &Path) -> Vec<Rows> {
    let mut processes: HashMap<i64, Rows> = HashMap::new();
    for line in fs::read_to_string(file).unwrap().lines() {
        let words: Vec<i64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        // The last line of a recorder that was stopped may be torn.
        let Some((head, row)) = words.split_at_checked(2) else { continue };
        let Ok(row) = row.try_into() else { continue };
        processes.entry(head[1]).or_default().insert(head[0], row);
    }
    let mut processes: Vec<(i64, Rows)> = processes.into_iter().collect();
    processes.sort_unstable_by_key(|(pid, _)| *pid);
    processes.into_iter().map(|(_, rows)| rows).collect()
}

/// Writes rows of processes, over and over up to `total`; gives back the owner's time, its longest tick, and the time waited for the disk.
fn write(folder: &Path, processes: &[&Rows], total: u32, ticks: i64) -> (Series, [Duration; 3]) {
    let mut series = Series::open(Options::new(folder), START).unwrap();
    let schema = schema();
    let ids: Vec<_> = (0..total)
        .map(|slot| series.object(&Key::new("worker", slot).unwrap(), &schema).unwrap())
        .collect();
    let [mut own, mut longest, mut disk] = [Duration::ZERO; 3];
    for tick in 0..ticks {
        let rows: Vec<Option<&[i64; 12]>> = processes.iter().map(|rows| rows.get(&tick)).collect();
        let begin = Instant::now();
        series.begin(START + tick).unwrap();
        for (n, id) in ids.iter().enumerate() {
            if let Some(row) = rows[n % rows.len()] {
                series.push(*id, row).unwrap();
            }
        }
        let took = begin.elapsed();
        own += took;
        longest = longest.max(took);
        if tick % 60 == 59 {
            // The disk gets its minute.
            let begin = Instant::now();
            series.settle().unwrap().wait();
            disk += begin.elapsed();
        }
    }
    (series, [own, longest, disk])
}

fn bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn rss_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// CPU of all threads that live.
fn cpu_ms() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let ns = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    ns.sum::<f64>() / 1e6
}

/// The middle of eleven runs, and the shortest: on a busy machine the one that was not interrupted.
fn median(mut run: impl FnMut() -> Duration) -> String {
    let mut times: Vec<Duration> = (0..11).map(|_| run()).collect();
    times.sort_unstable();
    format!("{:.2?} (shortest {:.2?})", times[5], times[0])
}

pub(crate) fn run(file: &Path) {
    let processes = load(file);
    let ticks = processes.iter().filter_map(|rows| rows.keys().last()).max().unwrap() + 1;
    println!("{} processes, {ticks} ticks, 12 metrics each", processes.len());
    sizes(&processes, ticks);
    day(&processes);
    many(&processes, ticks);
    sketches();
    text();
}

fn sizes(processes: &[Rows], ticks: i64) {
    let is_busy = |rows: &&Rows| {
        let cpu = |row: Option<(&i64, &[i64; 12])>| row.map_or(0, |(_, row)| row[1]);
        // A thousandth of a core.
        cpu(rows.last_key_value()) - cpu(rows.first_key_value()) > rows.len() as i64 * 10
    };
    for (name, some) in [
        ("all processes", processes.iter().collect::<Vec<_>>()),
        ("busy ones (> 0.1 % of a core)", processes.iter().filter(is_busy).collect()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let samples: usize = some.iter().map(|rows| rows.len() * 12).sum();
        // Until the hour is over, and is rolled up.
        let end = ticks + (3_600 - ticks % 3_600) % 3_600 + 600;
        let (mut series, ..) = write(folder.path(), &some, some.len() as u32, ticks);
        series.begin(START + end).unwrap();
        series.settle().unwrap().wait();
        let changing = changing(&some);
        let all = bytes(folder.path());
        println!(
            "{name}: {} of them, {samples} samples ({changing} in series that change), {all} bytes all in: {:.3} bytes a sample, {:.3} of those in series that change",
            some.len(),
            all as f64 / samples as f64,
            all as f64 / changing as f64,
        );
        series.close().wait();
    }
}

/// Samples of series that are not constant.
fn changing(processes: &[&Rows]) -> usize {
    let of = |rows: &&Rows| {
        let changes =
            |n: usize| rows.values().any(|row| Some(row[n]) != rows.values().next().map(|r| r[n]));
        (0..12).filter(|n| changes(*n)).count() * rows.len()
    };
    processes.iter().map(of).sum()
}

/// 24 hours of one busy process, a hundred others beside it, one series read.
fn day(processes: &[Rows]) {
    let busy = processes.iter().max_by_key(|rows| rows.values().last().map(|row| row[1])).unwrap();
    let rows: Vec<&[i64; 12]> = busy.values().collect();
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path());
    options.fine.max_age = Duration::from_secs(2 * 86_400);
    let mut series = Series::open(options, START).unwrap();
    let schema = schema();
    let ids: Vec<_> = (0..20)
        .map(|slot| series.object(&Key::new("worker", slot).unwrap(), &schema).unwrap())
        .collect();
    let mut base = [0i64; 12];
    for tick in 0..86_400 {
        let at = tick as usize % rows.len();
        if at == 0 && tick > 0 {
            // Counters go on where they were.
            for (n, base) in base.iter_mut().enumerate().filter(|(n, _)| ![2, 3, 4, 11].contains(n))
            {
                *base += rows[rows.len() - 1][n] - rows[0][n];
            }
        }
        let row: Vec<i64> = rows[at].iter().zip(base).map(|(value, base)| value + base).collect();
        series.begin(START + tick).unwrap();
        for id in &ids {
            series.push(*id, &row).unwrap();
        }
        if tick % 600 == 599 {
            series.settle().unwrap().wait();
        }
    }
    series.settle().unwrap().wait();
    let key = Key::new("worker", 7).unwrap();
    let reader = series.snapshot();
    let all = START..START + 86_400;
    for metric in ["cpu", "rss"] {
        let read = median(|| {
            let begin = Instant::now();
            assert_eq!(reader.samples(&key, metric, all.clone()).unwrap().len(), 86_400);
            begin.elapsed()
        });
        let stats = median(|| {
            let begin = Instant::now();
            let stats = reader.stats(&key, metric, all.clone()).unwrap().unwrap();
            assert!(stats.percentile(99.0).is_some());
            begin.elapsed()
        });
        let graph = median(|| {
            let begin = Instant::now();
            assert_eq!(reader.graph(&key, metric, all.clone(), 200).unwrap().len(), 200);
            begin.elapsed()
        });
        println!(
            "24 h of `{metric}`: samples {read}, stats {stats}, graph of 200 {graph} (medians of 11, files in the page cache)"
        );
    }
    let open = median(|| {
        let begin = Instant::now();
        assert_eq!(Reader::open(folder.path()).unwrap().objects().len(), 20);
        begin.elapsed()
    });
    println!("opening a folder with 24 h of 20 processes ({} bytes): {open}", bytes(folder.path()));
    series.close().wait();
}

fn many(processes: &[Rows], ticks: i64) {
    let folder = tempfile::tempdir().unwrap();
    let whole: Vec<&Rows> = processes.iter().filter(|rows| rows.len() as i64 == ticks).collect();
    let ticks = ticks.min(1_260);
    let (before, cpu) = (rss_kib(), cpu_ms());
    let (mut series, [own, longest, disk]) = write(folder.path(), &whole, PROCESSES, ticks);
    let (after, cpu) = (rss_kib(), cpu_ms() - cpu);
    let counts = series.counts();
    println!(
        "{PROCESSES} processes x 12 metrics, {ticks} ticks of {} recorded ones: memory {} KiB more (indices and minutes {} KiB), owner {:.1} us a tick, the longest {longest:?}, all threads {:.3} ms of CPU a tick (with the recording's lookup)",
        whole.len(),
        after - before,
        counts.memory >> 10,
        own.as_secs_f64() * 1e6 / ticks as f64,
        cpu / ticks as f64,
    );
    let n = counts.samples_sealed;
    println!(
        "journal and seal, with their fdatasyncs: {:.0} ns a sample of {n} sealed",
        disk.as_nanos() as f64 / n as f64
    );
    let begin = Instant::now();
    let objects = series.snapshot().objects().len();
    println!("snapshot and {objects} objects: {:?}", begin.elapsed());
    series.close().wait();
}

fn sketches() {
    let mut random = fastrand::Rng::with_seed(1);
    let values: Vec<i64> = (0..1_000_000)
        .map(|_| (2_000.0 * ((0..12).map(|_| random.f64()).sum::<f64>() * 2.0 - 12.0).exp()) as i64)
        .collect();
    let mut sketch = Sketch::new();
    let begin = Instant::now();
    for value in &values {
        sketch.add(*value, 1);
    }
    let add = begin.elapsed();
    println!(
        "sketch: {:.1} ns an add (log-normal, {} bins)",
        add.as_nanos() as f64 / 1e6,
        sketch.bins()
    );
}

/// 1,000 processes x 12 metrics, as a scrape.
fn text() {
    let slots: Vec<String> = (0..PROCESSES).map(|slot| slot.to_string()).collect();
    let mut out = String::new();
    let time = median(|| {
        let begin = Instant::now();
        let mut to = Encoder::new(&mut out, Format::OpenMetrics);
        for (n, metric) in METRICS.iter().enumerate() {
            to.family(&Family::new(metric, Type::Counter, "A metric of a process"));
            for (at, slot) in slots.iter().enumerate() {
                to.sample(&[("name", "worker"), ("slot", slot)], (n * at * 7_919) as u64);
            }
        }
        to.finish();
        begin.elapsed()
    });
    println!("scrape of {PROCESSES} x {} samples, {} bytes: {time}", METRICS.len(), out.len());
}
