//! Schedules: looking, previewing, running by hand, pausing, resuming.

use axum::Json;
use axum::extract::{Path, State};
use ganger_api::{
    Fire, FireTime, NextFires, NextQuery, RunAnswer, Schedule, Schedules, Timestamp, V1, VerbAnswer,
};
use ganger_pool::ScheduleLook;
use ganger_queue::schedule::Plan;
use ganger_store::FireRow;

use super::error::Answer;
use super::extract::Params;
use crate::app::App;

/// Newest fires shown with one schedule.
const FIRES: usize = 50;
/// Fires to come when nothing is asked for.
const NEXT: u32 = 10;
/// Most fires to come of one answer.
const NEXT_MAX: u32 = 1_000;

pub(crate) async fn list(State(app): State<App>) -> Answer<Schedules> {
    let looks = app.full()?.schedules.list().await?;
    let schedules = looks.into_iter().map(|look| schedule(look, Vec::new())).collect();
    Ok(Json(Schedules { v: V1, schedules }))
}

pub(crate) async fn one(State(app): State<App>, Path(name): Path<String>) -> Answer<Schedule> {
    let (look, fires) = app.full()?.schedules.get(&name, FIRES).await?;
    Ok(Json(schedule(look, fires)))
}

pub(crate) async fn next(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(query): Params<NextQuery>,
) -> Answer<NextFires> {
    let (look, _) = app.full()?.schedules.get(&name, 1).await?;
    let plan = look.view.config.plan;
    let n = query.n.unwrap_or(NEXT).min(NEXT_MAX);
    // A fire that is dealt with does not come again, whatever the clock says.
    let after = look.row.and_then(|row| row.mark.after_ms).unwrap_or(0);
    let mut at = Timestamp::now().0.max(after);
    let next = std::iter::from_fn(|| {
        at = plan.after(at)?;
        Some(fire_time(&plan, at))
    });
    let next = next.take(n as usize).collect();
    let (when, timezone) = (plan.text().to_owned(), plan.zone().to_owned());
    Ok(Json(NextFires { v: V1, when, timezone, next }))
}

pub(crate) async fn run(State(app): State<App>, Path(name): Path<String>) -> Answer<RunAnswer> {
    let fired = app.full()?.schedules.run(&name).await?;
    Ok(Json(RunAnswer { v: V1, at: Timestamp(fired.fire_ms), task: fired.task }))
}

pub(crate) async fn pause(State(app): State<App>, Path(name): Path<String>) -> Answer<VerbAnswer> {
    app.full()?.schedules.pause(&name).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![name], notes: Vec::new() }))
}

pub(crate) async fn resume(State(app): State<App>, Path(name): Path<String>) -> Answer<VerbAnswer> {
    app.full()?.schedules.resume(&name).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![name], notes: Vec::new() }))
}

fn fire_time(plan: &Plan, at_ms: u64) -> FireTime {
    FireTime { at: Timestamp(at_ms), local: plan.local(at_ms) }
}

fn schedule(look: ScheduleLook, fires: Vec<FireRow>) -> Schedule {
    let ScheduleLook { view, row } = look;
    let config = view.config;
    let row = row.as_ref();
    Schedule {
        v: V1,
        name: view.name.to_string(),
        when: config.plan.text().to_owned(),
        timezone: config.plan.zone().to_owned(),
        jitter_s: config.jitter.into(),
        queue: config.queue.to_string(),
        kind: config.task.kind.as_deref().unwrap_or_default().to_owned(),
        priority: config.task.priority,
        overlap: config.overlap.as_str().to_owned(),
        missed: config.missed.as_str().to_owned(),
        missed_max: config.missed_max,
        paused: view.paused,
        next_fire: view.next.map(|(fire, _)| fire_time(&config.plan, fire)),
        last_fire: row.and_then(|row| row.last_fire_ms).map(Timestamp),
        last_task: row.and_then(|row| row.task),
        waiting: view.held as u64,
        fired: row.map_or(0, |row| row.fired),
        skipped: row.map_or(0, |row| row.skipped),
        fires: fires.into_iter().map(fire).collect(),
    }
}

fn fire(row: FireRow) -> Fire {
    let outcome = match (&row.task, &row.why) {
        (Some(_), _) => "fired",
        (None, Some(_)) => "skipped",
        (None, None) => "waits",
    };
    Fire {
        at: Timestamp(row.fire_ms),
        made_at: Timestamp(row.made_ms),
        outcome: outcome.to_owned(),
        task: row.task,
        reason: row.why,
    }
}
