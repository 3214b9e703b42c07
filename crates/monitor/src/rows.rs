//! A sample as rows of integers, in the order of the tables in `metrics`.

use ganger_sampler::{Host, Tree};
use ganger_series::ABSENT;

/// As the kernel counts bytes here: a page is a multiple of it.
const KIB: u64 = 1_024;
/// Nanoseconds in a unit of processor time.
const UNIT_NS: u64 = 100_000;
/// The same in a hundredth of a second, in which the kernel counts the machine's.
const UNITS_A_TICK: u64 = 100;
/// Microseconds in the same.
const UNIT_US: u64 = 100;

fn kept(value: u64) -> i64 {
    // i64::MIN is what is absent, and no count reaches the other end.
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn known(value: Option<u64>) -> i64 {
    value.map_or(ABSENT, kept)
}

/// The row of a tree that has processes.
pub(crate) fn tree_row(tree: &Tree) -> [i64; 14] {
    let group = tree.group.as_ref();
    [
        kept(tree.total.cpu_ns / UNIT_NS),
        kept(tree.resident / KIB),
        known(tree.proportional.map(|(bytes, _)| bytes / KIB)),
        kept(tree.swap / KIB),
        i64::from(tree.processes),
        kept(tree.threads),
        kept(tree.descriptors),
        (tree.descriptor_ratio * 1_000.0) as i64,
        kept(tree.total.read_bytes / KIB),
        kept(tree.total.write_bytes / KIB),
        kept(tree.total.minor_faults),
        kept(tree.total.major_faults),
        known(group.and_then(|group| group.throttled_us).map(|us| us / UNIT_US)),
        known(group.and_then(|group| group.events).map(|events| events.oom_kill)),
    ]
}

/// The row of the machine.
pub(crate) fn host_row(host: &Host) -> [i64; 11] {
    let (cpu, memory) = (&host.cpu, &host.memory);
    let pressure = |of: fn(&ganger_sampler::Pressures) -> u64| {
        known(host.pressure.as_ref().map(|all| of(all) / UNIT_US))
    };
    [
        kept((cpu.user + cpu.system) * UNITS_A_TICK),
        kept(cpu.iowait * UNITS_A_TICK),
        kept(cpu.steal * UNITS_A_TICK),
        kept(memory.total.saturating_sub(memory.available) / KIB),
        kept(memory.available / KIB),
        kept(memory.swap_total.saturating_sub(memory.swap_free) / KIB),
        kept(host.load[0]),
        kept(host.started),
        pressure(|all| all.cpu.some_us),
        pressure(|all| all.memory.some_us),
        pressure(|all| all.io.some_us),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{host_metrics, tree_metrics};

    #[test]
    fn a_processor_that_is_busy_for_a_second_has_10_000_units() {
        let cpu = ganger_sampler::HostCpu { user: 60, system: 40, ..Default::default() };
        assert_eq!(host_row(&Host { cpu, ..Host::default() })[0], 10_000);
    }

    #[test]
    fn what_is_not_known_is_absent_and_not_zero() {
        let row = host_row(&Host::default());
        assert_eq!(row.len(), host_metrics().len());
        let at = |name: &str| host_metrics().iter().position(|info| info.name == name).unwrap();
        assert_eq!((row[at("pressure_io")], row[at("memory")]), (ABSENT, 0));
        assert_eq!(tree_metrics().len(), 14);
    }
}
