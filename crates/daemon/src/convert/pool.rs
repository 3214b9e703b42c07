//! A pool's spec.

use ganger_core::InstanceKind;
use ganger_pool::template::Template;
use ganger_pool::{Autoscale, PoolSpec, WORKERS_MAX};

use super::plan::plan;
use super::probes;
use super::service::instance_spec;
use super::{ConvertError, Why};
use crate::config::{Pool, Protocol};
use crate::environments::Variables;

/// The spec of a pool as the pool crate has it. `by_hand`: a person said how many workers.
pub(crate) fn pool_spec(
    name: &str,
    pool: &Pool,
    workers: u32,
    by_hand: bool,
    stopped: bool,
    inherited: Variables,
) -> Result<PoolSpec, ConvertError> {
    let fail = |why: Why| ConvertError { kind: "pool", name: name.to_owned(), why };
    let most = workers.max(if by_hand { 0 } else { pool.workers.max });
    let plan = plan(name, InstanceKind::Worker, &pool.program, most, inherited);
    let plan = plan.map_err(|error| fail(error.into()))?;
    if workers > WORKERS_MAX {
        return Err(fail(Why::TooMany { asked: workers, max: WORKERS_MAX }));
    }
    if pool.protocol == Protocol::Command {
        Template::parse(&pool.program.command).map_err(|error| fail(error.into()))?;
    }
    let mut instance = instance_spec(plan, &pool.program, None);
    instance.live = pool.live.as_ref().map(probes::pings);
    let drain = instance.stop.timeout;
    Ok(PoolSpec {
        workers,
        autoscale: (!by_hand && pool.workers.max > pool.workers.min).then_some(Autoscale {
            min: pool.workers.min,
            max: pool.workers.max,
            target: pool.workers.target_wait.0,
            cool_down: pool.workers.cool_down.0,
        }),
        queues: pool.queues.clone(),
        protocol: match pool.protocol {
            Protocol::Channel => ganger_pool::Protocol::Channel,
            Protocol::Stdio => ganger_pool::Protocol::Stdio,
            Protocol::Command => ganger_pool::Protocol::Command,
        },
        raw: pool.raw,
        peers: pool.channel,
        concurrency: pool.concurrency,
        prefetch: pool.prefetch,
        drain,
        recycle: ganger_pool::Recycle {
            tasks: pool.recycle.tasks,
            after: pool.recycle.after.map(|after| after.0),
            memory: pool.recycle.memory.map(|size| size.0),
        },
        stopped,
        ..PoolSpec::new(name, instance)
    })
}
