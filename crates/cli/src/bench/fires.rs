//! How far fires of schedules are off: from the moment that a fire is due to the first instruction of its task.
//!
//! Many schedules with intervals that differ by a few milliseconds, so that their fires lie scattered and now and then
//! meet, run in the bench's daemon for a while. When they are paused again, each must have made every fire of that while.

use std::time::Duration;

use ganger_api::{Client, Fire};

use super::idle;
use crate::error::{CliError, Kind};

/// Their queue and pool.
pub(super) const QUEUE: &str = "fires";
/// Schedules; with the longest interval of all, a run still has twice as many fires.
const SCHEDULES: u64 = 52;
/// Interval of the first.
const EVERY: Duration = Duration::from_secs(1);
/// Each further interval is longer by this.
const STEP: Duration = Duration::from_millis(7);
/// How long they run.
const RUN: Duration = Duration::from_millis(2_800);
const _: () = assert!(
    RUN.as_millis() >= 2 * (EVERY.as_millis() + SCHEDULES as u128 * STEP.as_millis()),
    "every schedule fires at least twice"
);

/// The schedules as configuration; paused.
pub(super) fn config(text: &mut String) {
    for at in 0..SCHEDULES {
        text.push_str(&format!(
            "[schedule.{}]\ncron = \"@every {}ms\"\nqueue = \"{QUEUE}\"\nkind = \"noop\"\npaused = true\n",
            name(at),
            every(at).as_millis()
        ));
    }
}

fn name(at: u64) -> String {
    format!("fire-{at:02}")
}

fn every(at: u64) -> Duration {
    EVERY + STEP * u32::try_from(at).unwrap_or(0)
}

/// One run: how far off each fire's task began.
pub(super) async fn errors(client: &Client) -> Result<Vec<Duration>, CliError> {
    let mut before = Vec::new();
    for at in 0..SCHEDULES {
        before.push(client.schedule(&name(at)).await?.fired);
    }
    for at in 0..SCHEDULES {
        client.resume_schedule(&name(at)).await?;
    }
    tokio::time::sleep(RUN).await;
    for at in 0..SCHEDULES {
        client.pause_schedule(&name(at)).await?;
    }
    let mut late = Vec::new();
    for (at, before) in (0..SCHEDULES).zip(before) {
        let schedule = client.schedule(&name(at)).await?;
        let made = usize::try_from(schedule.fired - before).unwrap_or(0);
        let fires = schedule.fires.get(..made).unwrap_or(&[]);
        unbroken(&schedule.name, fires, every(at))?;
        for fire in fires {
            late.push(lateness(client, fire).await?);
        }
    }
    Ok(late)
}

/// Fires of one run, newest first: at least two, none left out, none twice.
fn unbroken(name: &str, fires: &[Fire], every: Duration) -> Result<(), CliError> {
    let step = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let whole = fires.windows(2).all(|two| two[0].at.0 == two[1].at.0 + step);
    if fires.len() >= 2 && whole {
        return Ok(());
    }
    let times: Vec<u64> = fires.iter().map(|fire| fire.at.0).collect();
    Err(CliError::new(
        Kind::Failed,
        format!("schedule {name} fires every {step} ms, but it fired at {times:?}"),
    ))
}

async fn lateness(client: &Client, fire: &Fire) -> Result<Duration, CliError> {
    let task = fire.task.ok_or_else(|| {
        let why = fire.reason.as_deref().unwrap_or("no reason");
        CliError::new(Kind::Failed, format!("the fire of {} has no task: {why}", fire.at))
    })?;
    let began = idle::began(client, task).await?;
    // One that comes too early is as wrong as one that comes too late.
    Ok(Duration::from_micros(began.wall_us.abs_diff(fire.at.0 * 1_000)))
}

#[cfg(test)]
mod tests {
    use ganger_api::Timestamp;

    use super::*;

    fn fires(times: &[u64]) -> Vec<Fire> {
        let fire = |at: &u64| Fire {
            at: Timestamp(*at),
            made_at: Timestamp(*at),
            outcome: "fired".into(),
            task: None,
            reason: None,
        };
        times.iter().map(fire).collect()
    }

    #[test]
    fn a_missing_or_double_fire_is_told() {
        let second = Duration::from_secs(1);
        assert!(unbroken("x", &fires(&[3_000, 2_000, 1_000]), second).is_ok());
        for broken in [&[3_000, 1_000][..], &[2_000, 2_000], &[1_000], &[]] {
            assert!(unbroken("x", &fires(broken), second).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_schedules_are_a_configuration() {
        let mut text = format!("version = 1\n[queue.{QUEUE}]\n");
        config(&mut text);
        let table: toml::Table = text.parse().unwrap();
        let schedules = table["schedule"].as_table().unwrap();
        assert_eq!(schedules.len() as u64, SCHEDULES);
        assert_eq!(schedules["fire-51"]["cron"].as_str(), Some("@every 1357ms"));
    }
}
