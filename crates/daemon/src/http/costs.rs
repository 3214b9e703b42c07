//! `GET /costs`: the newest look of the monitor, for those who ask each second.

use axum::Json;
use axum::extract::State;
use ganger_api::{ApiError, Costs, ErrorKind, HostCost, InstanceCost, Seconds, Timestamp, V1};
use ganger_monitor::Tick;
use ganger_sampler::{Host, Tree};

use super::error::Answer;
use crate::app::App;

pub(crate) async fn costs(State(app): State<App>) -> Answer<Costs> {
    let monitor = app.full()?.monitor.as_ref().ok_or_else(|| {
        let error = ApiError::new(ErrorKind::Failed, "nothing watches what processes cost");
        error.hint("the daemon's own log says why; /proc has to be mounted and readable")
    })?;
    Ok(Json(of(&monitor.newest())))
}

fn of(tick: &Tick) -> Costs {
    let passed = tick.passed.as_secs_f64();
    Costs {
        v: V1,
        at: Timestamp(tick.at_ms),
        passed_s: Seconds(passed),
        host: host(&tick.host),
        instances: tick.trees.iter().map(|tree| instance(tree, passed)).collect(),
    }
}

fn host(host: &Host) -> HostCost {
    // The kernel counts in hundredths.
    let seconds = |hundredths: u64| Seconds(hundredths as f64 / 100.0);
    let (cpu, memory) = (&host.cpu, &host.memory);
    let busy = cpu.user + cpu.system;
    HostCost {
        cpu_busy_s: seconds(busy),
        cpu_all_s: seconds(busy + cpu.idle + cpu.iowait + cpu.steal),
        memory_total_bytes: memory.total,
        memory_available_bytes: memory.available,
        load: host.load[0] as f64 / 100.0,
    }
}

fn instance(tree: &Tree, passed: f64) -> InstanceCost {
    // Before the second look nothing has passed.
    let share = if passed > 0.0 { tree.cpu_delta_ns as f64 / 1e9 / passed } else { 0.0 };
    InstanceCost {
        name: tree.name.to_string(),
        slot: tree.slot,
        cpu_percent: tenths(share * 100.0),
        cpu_s: Seconds(tree.total.cpu_ns as f64 / 1e9),
        memory_bytes: tree.resident,
        processes: tree.processes,
        threads: tree.threads,
        fds: tree.descriptors,
        fds_percent: tenths(tree.descriptor_ratio * 100.0),
        read_bytes: tree.total.read_bytes,
        written_bytes: tree.total.write_bytes,
    }
}

/// More digits are noise, and a longer answer each second.
fn tenths(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use ganger_sampler::HostCpu;

    use super::*;

    #[test]
    fn before_the_second_look_nothing_is_divided_by_nothing() {
        let cpu = HostCpu { user: 150, system: 50, idle: 700, iowait: 60, steal: 40 };
        let tick = Tick { host: Host { cpu, ..Host::default() }, ..Tick::default() };
        let told = of(&tick);
        assert_eq!((told.host.cpu_busy_s, told.host.cpu_all_s), (Seconds(2.0), Seconds(10.0)));
        assert_eq!((told.instances, told.passed_s), (vec![], Seconds(0.0)));
    }
}
