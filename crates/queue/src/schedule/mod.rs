//! Schedules: tasks pushed at set times, by rules that hold over clock changes, crashes and outages.
//!
//! [`Schedule`] is pure and synchronous like the engine: its owner (in `pool`) tells it the time and what became of its
//! orders. A fire is named by its schedule and its moment; the store keeps one row per fire, in the commit that pushes its
//! task, so that no fire happens twice whatever dies.
//!
//! - `cron`, `field`: expressions · `plan`: the next moment, across the zone's changes · `rules`: what a schedule is told
//! - `state`: the machine of one schedule

mod cron;
mod field;
mod plan;
mod rules;
mod state;
#[cfg(test)]
mod tests;

pub use cron::CronError;
pub use plan::{Plan, PlanError, local_zone};
pub use rules::{LINE_MAX, MISSED_DEFAULT, MISSED_MAX, Missed, ON_TIME, Overlap, ScheduleConfig};
pub use state::{Order, Resumed, RunRefused, Schedule, ScheduleView, Settle, Step, What, Why};
