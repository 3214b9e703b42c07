//! Which metrics there are, what they mean, and in which units they are kept and shown.

use std::sync::OnceLock;

use ganger_series::{Kind, Metric, Schema};

/// The machine's name among objects: no service has a name that begins with a colon.
pub const HOST: &str = ":host";

/// What a metric's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Processor time, kept in units of 100 µs; shown as percent of one processor.
    Processor,
    /// Kept in KiB; shown in bytes.
    Memory,
    /// Bytes moved, kept in KiB; shown in bytes a second.
    Throughput,
    /// Things that happen; shown as so many a second.
    Events,
    /// Things that are there.
    Count,
    /// Kept in thousandths; shown in percent.
    Share,
    /// Time in which something waited, kept in units of 100 µs; shown as percent of the time.
    Waiting,
    /// Kept in hundredths.
    Hundredths,
}

impl Meaning {
    /// By what a kept value (of a counter: its increase a second) is multiplied to be shown.
    #[must_use]
    pub const fn factor(self) -> f64 {
        match self {
            // 10,000 units are a second.
            Self::Processor | Self::Waiting | Self::Hundredths => 0.01,
            Self::Memory | Self::Throughput => 1024.0,
            Self::Events | Self::Count => 1.0,
            Self::Share => 0.1,
        }
    }

    /// The unit in which it is shown.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Processor | Self::Share | Self::Waiting => "percent",
            Self::Memory => "bytes",
            Self::Throughput => "bytes_per_second",
            Self::Events => "per_second",
            Self::Count | Self::Hundredths => "",
        }
    }
}

/// A metric and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name in series, in the API and on the command line.
    pub name: &'static str,
    /// What its values mean.
    pub meaning: Meaning,
    /// A total that grows.
    pub counter: bool,
    /// Has percentiles over windows of any length.
    pub sketched: bool,
    /// One line for people.
    pub about: &'static str,
}

const fn gauge(name: &'static str, meaning: Meaning, about: &'static str) -> MetricInfo {
    MetricInfo { name, meaning, counter: false, sketched: false, about }
}

const fn counter(name: &'static str, meaning: Meaning, about: &'static str) -> MetricInfo {
    MetricInfo { name, meaning, counter: true, sketched: false, about }
}

const fn sketched(info: MetricInfo) -> MetricInfo {
    MetricInfo { sketched: true, ..info }
}

/// Of a service's or worker's process with all that it started; in the order of a row.
const TREE: [MetricInfo; 14] = [
    sketched(counter("cpu", Meaning::Processor, "processor time, in percent of one processor")),
    sketched(gauge(
        "memory",
        Meaning::Memory,
        "resident memory, shared pages counted in each process",
    )),
    gauge("memory_own", Meaning::Memory, "proportional memory: shared pages counted in parts"),
    gauge("swap", Meaning::Memory, "memory that was written out to swap"),
    gauge("processes", Meaning::Count, "processes, zombies included"),
    gauge("threads", Meaning::Count, "threads"),
    gauge("fds", Meaning::Count, "open descriptors"),
    gauge(
        "fds_used",
        Meaning::Share,
        "largest part of its limit of descriptors that a process uses",
    ),
    counter("read", Meaning::Throughput, "bytes read from disks"),
    counter("written", Meaning::Throughput, "bytes written to disks"),
    counter("minor_faults", Meaning::Events, "page faults without a disk"),
    counter("major_faults", Meaning::Events, "page faults that needed a disk"),
    counter("throttled", Meaning::Waiting, "time in which its CPU quota held it"),
    counter("oom_kills", Meaning::Events, "processes ended by the kernel for memory"),
];

/// Of the machine; in the order of a row.
const MACHINE: [MetricInfo; 11] = [
    sketched(counter("cpu", Meaning::Processor, "processor time, in percent of one processor")),
    counter("cpu_iowait", Meaning::Processor, "idle processors while a disk was waited for"),
    counter("cpu_steal", Meaning::Processor, "time that the hypervisor gave to others"),
    sketched(gauge("memory", Meaning::Memory, "memory that is in use and can't be given back")),
    gauge("memory_available", Meaning::Memory, "memory that programs could still get"),
    gauge("swap", Meaning::Memory, "swap in use"),
    gauge("load", Meaning::Hundredths, "load over a minute"),
    counter("started", Meaning::Events, "processes and threads started"),
    counter("pressure_cpu", Meaning::Waiting, "time in which something waited for a processor"),
    counter("pressure_memory", Meaning::Waiting, "time in which something waited for memory"),
    counter("pressure_io", Meaning::Waiting, "time in which something waited for a disk"),
];

/// Metrics of a service's or worker's instance.
#[must_use]
pub const fn tree_metrics() -> &'static [MetricInfo] {
    &TREE
}

/// Metrics of the machine.
#[must_use]
pub const fn host_metrics() -> &'static [MetricInfo] {
    &MACHINE
}

/// What is known of a metric of an object.
#[must_use]
pub fn metric(object: &str, name: &str) -> Option<&'static MetricInfo> {
    let all: &[MetricInfo] = if object == HOST { &MACHINE } else { &TREE };
    all.iter().find(|info| info.name == name)
}

fn schema(all: &[MetricInfo]) -> Option<Schema> {
    let metrics = all.iter().map(|info| {
        let kind = if info.counter { Kind::Counter } else { Kind::Gauge };
        let metric = Metric::new(info.name, kind)?;
        Ok(if info.sketched { metric.sketched() } else { metric })
    });
    Schema::new(metrics.collect::<Result<_, ganger_series::KeyError>>().ok()?).ok()
}

pub(crate) fn tree_schema() -> Option<&'static Schema> {
    static SCHEMA: OnceLock<Option<Schema>> = OnceLock::new();
    SCHEMA.get_or_init(|| schema(&TREE)).as_ref()
}

pub(crate) fn host_schema() -> Option<&'static Schema> {
    static SCHEMA: OnceLock<Option<Schema>> = OnceLock::new();
    SCHEMA.get_or_init(|| schema(&MACHINE)).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_are_schemas_and_are_found_by_name() {
        assert_eq!(tree_schema().unwrap().metrics().len(), TREE.len());
        assert_eq!(host_schema().unwrap().metrics().len(), MACHINE.len());
        assert_eq!(metric("web", "memory").unwrap().meaning.factor(), 1024.0);
        assert_eq!(metric(HOST, "load").unwrap().meaning, Meaning::Hundredths);
        assert_eq!(metric("web", "load"), None);
    }
}
