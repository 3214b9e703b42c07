//! What processes and the machine cost, as the monitor saw it last.

use ganger_monitor::Tick;
use ganger_sampler::Tree;
use ganger_series::text::Value;

use super::page::Page;

/// Nanoseconds as seconds.
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Microseconds as seconds.
fn of_us(us: u64) -> f64 {
    us as f64 / 1e6
}

type Of = fn(&Tree) -> Option<Value>;

/// What is told of each instance, with all that it started.
const TOTALS: [(&str, &str, Of); 6] = [
    ("process_cpu_seconds", "Processor time, of ended processes too", |t| {
        Some(seconds(t.total.cpu_ns).into())
    }),
    ("process_read_bytes", "Bytes read from disks", |t| Some(t.total.read_bytes.into())),
    ("process_written_bytes", "Bytes written to disks", |t| Some(t.total.write_bytes.into())),
    ("process_minor_faults", "Page faults without a disk", |t| Some(t.total.minor_faults.into())),
    ("process_major_faults", "Page faults that needed a disk", |t| {
        Some(t.total.major_faults.into())
    }),
    ("process_throttled_seconds", "Time in which the CPU quota held it", |t| {
        Some(of_us(t.group.as_ref()?.throttled_us?).into())
    }),
];
const LEVELS: [(&str, &str, Of); 7] = [
    (
        "process_resident_memory_bytes",
        "Resident memory, shared pages counted in each process",
        |t| Some(t.resident.into()),
    ),
    ("process_proportional_memory_bytes", "Memory with shared pages counted in parts", |t| {
        Some(t.proportional?.0.into())
    }),
    ("process_swap_bytes", "Memory written out to swap", |t| Some(t.swap.into())),
    ("process_count", "Processes", |t| Some(u64::from(t.processes).into())),
    ("process_threads", "Threads", |t| Some(t.threads.into())),
    ("process_open_fds", "Open descriptors", |t| Some(t.descriptors.into())),
    (
        "process_worst_fd_ratio",
        "Largest part of its limit of descriptors that a process uses",
        |t| Some(t.descriptor_ratio.into()),
    ),
];

pub(super) fn put(tick: &Tick, page: &mut Page<'_>) {
    let slots: Vec<String> = tick.trees.iter().map(|tree| tree.slot.to_string()).collect();
    let all = |page: &mut Page<'_>, of: Of| {
        for (tree, slot) in tick.trees.iter().zip(&slots) {
            if let Some(value) = of(tree) {
                page.sample(&[("name", &tree.name), ("slot", slot)], value);
            }
        }
    };
    for (name, help, of) in TOTALS {
        page.counts(name, help);
        all(page, of);
    }
    for (name, help, of) in LEVELS {
        page.gauges(name, help);
        all(page, of);
    }
    if tick.at_ms > 0 {
        host(tick, page);
    }
    page.number(
        "monitor_tick_cpu_seconds",
        "Processor time of the last look at all processes",
        seconds(tick.cost.cpu_ns),
    );
    page.count("monitor_samples", "Samples kept", tick.kept.samples);
    let lost = tick.kept.samples_dropped + tick.kept.samples_late;
    page.count("monitor_samples_lost", "Samples lost: full disk, clock set back", lost);
    page.number("monitor_series_bytes", "Bytes of samples on disk", tick.kept.bytes);
}

fn host(tick: &Tick, page: &mut Page<'_>) {
    let (cpu, memory) = (&tick.host.cpu, &tick.host.memory);
    page.counts("host_cpu_seconds", "Processor time of all processors");
    for (mode, hundredths) in [
        ("user", cpu.user),
        ("system", cpu.system),
        ("idle", cpu.idle),
        ("iowait", cpu.iowait),
        ("steal", cpu.steal),
    ] {
        page.sample(&[("mode", mode)], hundredths as f64 / 100.0);
    }
    page.gauges("host_memory_bytes", "Memory of the machine");
    for (kind, bytes) in [
        ("total", memory.total),
        ("available", memory.available),
        ("free", memory.free),
        ("cached", memory.cached),
        ("swap_total", memory.swap_total),
        ("swap_free", memory.swap_free),
    ] {
        page.sample(&[("kind", kind)], bytes);
    }
    page.number("host_load1", "Load over a minute", tick.host.load[0] as f64 / 100.0);
    page.counts("host_pressure_seconds", "Time in which something waited for this");
    for pressure in tick.host.pressure.iter() {
        let all = [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)];
        for (resource, pressure) in all {
            page.sample(&[("resource", resource)], of_us(pressure.some_us));
        }
    }
}
