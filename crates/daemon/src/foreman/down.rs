//! Bringing everything down, with a deadline.

use std::time::Duration;

use ganger_api::{ApiError, ErrorKind};
use ganger_process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::crew::Crew;
use super::handle::{Foreman, Order};
use crate::config::Config;
use crate::desired::Desired;

/// Beyond the longest stop timeout: killing a tree and telling of it takes milliseconds, unless the kernel is stuck.
const MARGIN: Duration = Duration::from_secs(15);
/// Ending trees by force, when there is no configuration that would say how to ask.
const FORCE: Duration = Duration::from_secs(15);

/// Stops everything; gives what could not be.
pub(super) async fn down(crew: &Crew, config: &Config) -> Vec<String> {
    let services = config.services.values().map(|service| service.program.stop.timeout.0);
    let pools = config.pools.values().map(|pool| pool.program.stop.timeout.0);
    let longest = services.chain(pools).max().unwrap_or_default();
    // Dependencies stop one after the other, so each level may take as long as the slowest.
    let levels = u32::try_from(config.services.len().max(1)).unwrap_or(u32::MAX).min(32);
    let limit = longest.saturating_mul(levels).saturating_add(MARGIN);
    let all = async {
        crew.schedules.stop().await;
        let pools = crew.pools.shutdown().await.err().map(|error| error.to_string());
        let services = crew.services.shutdown().await.err().map(|error| error.to_string());
        pools.into_iter().chain(services).collect()
    };
    tokio::time::timeout(limit, all).await.unwrap_or_else(|_| {
        vec![format!(
            "after {} something still was not stopped; the keeper ends what is left",
            ganger_core::Dur(limit)
        )]
    })
}

/// The foreman of a daemon without a store: it refuses everything but `down`, which ends the trees by force.
pub(crate) fn api_only(
    why: ApiError,
    children: Vec<Child>,
    end: watch::Sender<bool>,
    tasks: &mut JoinSet<()>,
) -> Foreman {
    let (orders, mut inbox) = mpsc::channel(1);
    let (_, desired) = watch::channel(std::sync::Arc::new(Desired::default()));
    tasks.spawn(async move {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Apply { reply, .. } => drop(reply.send(Err(why.clone()))),
                Order::Verb { reply, .. } => drop(reply.send(Err(why.clone()))),
                Order::Down { reply, .. } => {
                    drop(reply.send(end_by_force(&children).await));
                    end.send_replace(true);
                    return;
                }
            }
        }
    });
    Foreman { orders, desired }
}

async fn end_by_force(children: &[Child]) -> Result<Vec<String>, ApiError> {
    let lost = |error| ApiError::from_error(ErrorKind::NoDaemon, &error);
    let mut trees = Vec::new();
    for child in children {
        trees.push((child.instance().clone(), child.end_tree().await.map_err(lost)?));
    }
    let mut notes = Vec::new();
    for (id, tree) in trees {
        match tokio::time::timeout(FORCE, tree.stuck()).await {
            Ok(Ok(stuck)) if stuck.is_empty() => {}
            Ok(Ok(stuck)) => notes.push(format!("{id}: could not be ended: pids {stuck:?}")),
            Ok(Err(error)) => return Err(lost(error)),
            Err(_) => notes.push(format!("{id}: not ended after {FORCE:?}")),
        }
    }
    Ok(notes)
}
