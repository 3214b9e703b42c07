//! The machine in virtual time: a store that keeps marks and rows, a wall clock that can be set, daemons that die anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_core::TaskId;
use proptest::prelude::*;

use super::calendar::ms;
use crate::schedule::{
    Missed, Order, Overlap, Plan, Resumed, RunRefused, Schedule, ScheduleConfig, Settle, What,
};
use crate::{NewTask, Now};

const HOUR: u64 = 3_600_000;

/// What the store has of a fire.
#[derive(Debug, Clone, PartialEq)]
enum Row {
    Task(TaskId),
    Waits,
    Skipped(String),
}

/// Store, clock and tasks around one schedule.
struct World {
    now: Now,
    config: ScheduleConfig,
    schedule: Schedule,
    mark: u64,
    rows: BTreeMap<u64, Row>,
    /// The task of the last push, and whether it still runs.
    last: Option<(TaskId, bool)>,
    cancelled: Vec<TaskId>,
    pushes: Vec<u64>,
    next_id: i64,
}

impl World {
    fn new(plan: Plan, from: &str, change: impl FnOnce(&mut ScheduleConfig)) -> Self {
        let mut config = ScheduleConfig {
            plan,
            jitter: Duration::ZERO,
            queue: "q".into(),
            task: NewTask::json("null"),
            overlap: Overlap::Allow,
            missed: Missed::Latest,
            missed_max: 100,
            paused: false,
        };
        change(&mut config);
        let now = Now { wall_ms: ms(from), ..Now::real() };
        let resumed = Resumed { after_ms: now.wall_ms, ..Resumed::default() };
        let schedule = Schedule::new("s", config.clone(), resumed, now);
        let (rows, mark) = (BTreeMap::new(), now.wall_ms);
        let (last, cancelled, pushes) = (None, Vec::new(), Vec::new());
        Self { now, config, schedule, mark, rows, last, cancelled, pushes, next_id: 1 }
    }

    fn utc(cron: &str, from: &str, change: impl FnOnce(&mut ScheduleConfig)) -> Self {
        Self::new(Plan::cron(cron, "UTC").unwrap(), from, change)
    }

    /// Does the next order as a store would. False when there is none. `heard`: the daemon lives to see the answer.
    fn step(&mut self, heard: bool) -> bool {
        let step = match self.schedule.order() {
            None => return false,
            Some(Order::Cancel(task)) => {
                self.cancelled.push(task);
                return true;
            }
            Some(Order::Step(step)) => step,
        };
        if let Some(after) = step.after_ms {
            self.mark = self.mark.max(after);
        }
        let waits = matches!(self.rows.get(&step.fire_ms), None | Some(Row::Waits));
        let settle = match step.what {
            What::Push if waits => {
                let id = TaskId::from_raw(self.next_id).unwrap();
                self.next_id += 1;
                self.rows.insert(step.fire_ms, Row::Task(id));
                self.last = Some((id, true));
                self.pushes.push(step.fire_ms);
                Settle::Pushed(id)
            }
            What::Push => match self.rows[&step.fire_ms] {
                Row::Task(id) => Settle::Pushed(id),
                ref other => panic!("pushed after it was {other:?}"),
            },
            What::Hold => {
                self.rows.entry(step.fire_ms).or_insert(Row::Waits);
                Settle::Recorded
            }
            What::Skip(why) => {
                if waits {
                    self.rows.insert(step.fire_ms, Row::Skipped(why.to_string()));
                }
                Settle::Recorded
            }
        };
        if heard {
            self.schedule.settle(settle, self.now);
        }
        true
    }

    fn settle_all(&mut self) {
        while self.step(true) {}
    }

    /// Time passes as it does: every wake-up comes when it is due.
    fn pass(&mut self, ms: u64) {
        let until = self.now.wall_ms + ms;
        loop {
            self.settle_all();
            let Some(wake) = self.schedule.wake_ms().filter(|at| *at <= until) else { break };
            self.now = self.now.plus(Duration::from_millis(wake.saturating_sub(self.now.wall_ms)));
            self.schedule.tick(self.now);
        }
        self.now = self.now.plus(Duration::from_millis(until - self.now.wall_ms));
        self.schedule.tick(self.now);
        self.settle_all();
    }

    /// Somebody sets the clock; the kernel tells.
    fn set_clock(&mut self, by_ms: i64) {
        self.now.wall_ms = self.now.wall_ms.saturating_add_signed(by_ms);
        self.schedule.tick(self.now);
        self.settle_all();
    }

    /// The daemon dies; the next one comes after a while.
    fn restart(&mut self, away_ms: u64) {
        self.now = self.now.plus(Duration::from_millis(away_ms));
        let held = self.rows.iter().filter(|(_, row)| **row == Row::Waits).map(|(at, _)| *at);
        let resumed = Resumed {
            after_ms: self.mark,
            paused: false,
            former: self.last.filter(|(_, runs)| *runs).map(|(id, _)| id),
            held: held.collect(),
        };
        self.schedule = Schedule::new("s", self.config.clone(), resumed, self.now);
    }

    fn end_task(&mut self) {
        if let Some((id, runs)) = &mut self.last {
            *runs = false;
            let id = *id;
            self.schedule.ended(id);
        }
        self.settle_all();
    }

    fn skipped(&self) -> Vec<&str> {
        let texts = self.rows.values().filter_map(|row| match row {
            Row::Skipped(why) => Some(why.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

fn all(missed: Missed, max: u32) -> impl FnOnce(&mut ScheduleConfig) {
    move |config| (config.missed, config.missed_max) = (missed, max)
}

#[test]
fn three_days_without_a_daemon() {
    let outage = |missed, max| {
        let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", all(missed, max));
        world.pass(HOUR);
        assert_eq!(world.pushes.len(), 1, "the 11:00 fire");
        world.restart(72 * HOUR);
        world.settle_all();
        world.restart(0);
        world.settle_all();
        let made = world.pushes[1..].to_vec();
        let told = world.skipped().join("");
        world.pass(HOUR);
        assert_eq!(world.pushes.len(), made.len() + 2, "it goes on at 12:00");
        (made, told)
    };
    let last = ms("2026-11-23T11:00:00Z");
    let (made, told) = outage(Missed::Skip, 100);
    assert!(made.is_empty(), "{made:?}");
    assert_eq!(told, "72 fires were missed: nobody was there in time (missed = \"skip\")");
    let (made, told) = outage(Missed::Latest, 100);
    assert_eq!(made, [last]);
    assert_eq!(told, "71 fires were missed: nobody was there in time (missed = \"latest\")");
    let (made, told) = outage(Missed::All, 100);
    let hours: Vec<_> = (0..72).rev().map(|n| last - n * HOUR).collect();
    assert_eq!((made, told.as_str()), (hours.clone(), ""));
    let (made, told) = outage(Missed::All, 5);
    assert_eq!(made, hours[67..]);
    assert!(told.starts_with("67 fires were missed"), "{told}");
}

#[test]
fn an_outage_of_a_fast_schedule_is_looked_through_quickly() {
    for (cron, expected) in [("@every 1s", 7), ("* * * * * *", 7), ("* * * 1 1 *", 7)] {
        let mut world = World::utc(cron, "2023-11-20T10:30:00Z", all(Missed::All, 7));
        world.restart(3 * 365 * 24 * HOUR);
        world.settle_all();
        assert_eq!(world.pushes.len(), expected, "{cron}");
        assert!(world.pushes.is_sorted());
        let next = world.config.plan.after(*world.pushes.last().unwrap()).unwrap();
        assert!(next > world.now.wall_ms, "{cron}: the newest are made up for");
        assert!(world.skipped()[0].starts_with("more than "), "{:?}", world.skipped());
    }
}

#[test]
fn a_daemon_that_is_back_within_seconds_has_missed_nothing() {
    let mut world = World::utc("0 * * * *", "2026-11-20T10:59:59Z", all(Missed::Skip, 1));
    world.restart(6_000);
    world.settle_all();
    assert_eq!(world.pushes, [ms("2026-11-20T11:00:00Z")]);
}

#[test]
fn a_clock_set_forward_by_an_hour_follows_the_missed_policy() {
    for (missed, expected) in [(Missed::Skip, 0), (Missed::Latest, 1), (Missed::All, 6)] {
        let mut world = World::utc("*/10 * * * *", "2026-11-20T10:05:00Z", all(missed, 50));
        world.set_clock(HOUR as i64);
        assert_eq!(world.pushes.len(), expected, "{missed:?}");
        world.pass(5 * 60_000);
        assert_eq!(world.pushes.len(), expected + 1, "{missed:?}");
    }
}

#[test]
fn a_clock_set_back_by_an_hour_repeats_nothing() {
    let mut world = World::utc("*/10 * * * *", "2026-11-20T10:05:00Z", |_| {});
    world.pass(2 * HOUR);
    assert_eq!(world.pushes.len(), 12);
    world.set_clock(-(HOUR as i64));
    world.pass(HOUR - 60_000);
    assert_eq!(world.pushes.len(), 12);
    world.pass(10 * 60_000);
    assert_eq!(world.pushes.len(), 13);
    assert!(world.pushes.is_sorted());
    // Nor does a daemon that starts meanwhile.
    world.set_clock(-(HOUR as i64));
    world.restart(1_000);
    world.settle_all();
    assert_eq!(world.pushes.len(), 13);
}

#[test]
fn a_clock_that_was_years_ahead_does_not_silence_a_schedule() {
    let mut world = World::utc("*/10 * * * *", "2030-01-01T00:05:00Z", |_| {});
    world.pass(HOUR);
    world.now.wall_ms = ms("2026-11-20T10:05:00Z");
    world.schedule.tick(world.now);
    world.pass(HOUR);
    assert_eq!(world.pushes.len(), 12);
}

#[test]
fn daylight_saving_through_the_machine() {
    let plan = Plan::cron("30 2 * * *", "Europe/Berlin").unwrap();
    let mut world = World::new(plan, "2026-03-27T00:00:00Z", |_| {});
    world.pass(365 * 24 * HOUR);
    assert_eq!(world.pushes.len(), 365, "one on each day, also on the days of change");
    let plan = Plan::cron("*/30 * * * *", "Australia/Lord_Howe").unwrap();
    let mut world = World::new(plan, "2026-03-27T00:00:00Z", |_| {});
    world.pass(365 * 24 * HOUR);
    assert!(world.pushes.windows(2).all(|pair| pair[1] - pair[0] == HOUR / 2), "real intervals");
}

#[test]
fn overlap_allow_and_skip() {
    let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", |_| {});
    world.pass(3 * HOUR);
    assert_eq!(world.pushes.len(), 3);
    let skip = |c: &mut ScheduleConfig| c.overlap = Overlap::Skip;
    let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", skip);
    world.pass(3 * HOUR);
    assert_eq!((world.pushes.len(), world.skipped().len()), (1, 2));
    assert_eq!(world.schedule.run(world.now), Err(RunRefused::Overlap));
    world.end_task();
    world.pass(HOUR);
    assert_eq!(world.pushes.len(), 2);
}

#[test]
fn overlap_queue_waits_in_order_also_over_a_restart() {
    let queue = |c: &mut ScheduleConfig| c.overlap = Overlap::Queue;
    let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", queue);
    world.pass(3 * HOUR);
    assert_eq!(world.pushes.len(), 1);
    world.restart(1_000);
    world.settle_all();
    assert_eq!((world.pushes.len(), world.schedule.view().held), (1, 2));
    for expected in 2..=3 {
        world.end_task();
        assert_eq!(world.pushes.len(), expected);
    }
    world.end_task();
    assert_eq!(world.pushes, [11, 12, 13].map(|h| ms(&format!("2026-11-20T{h}:00:00Z"))));
    assert_eq!(world.schedule.former(), None);
}

#[test]
fn overlap_queue_is_bounded() {
    let queue = |c: &mut ScheduleConfig| c.overlap = Overlap::Queue;
    let mut world = World::utc("@every 1s", "2026-11-20T10:30:00Z", queue);
    world.pass(200_000);
    assert_eq!(world.schedule.view().held, 100);
    assert_eq!(world.schedule.run(world.now), Err(RunRefused::LineFull));
    assert_eq!(world.skipped().len(), 99);
}

#[test]
fn overlap_replace_ends_the_one_before_first() {
    let replace = |c: &mut ScheduleConfig| c.overlap = Overlap::Replace;
    let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", replace);
    world.pass(3 * HOUR);
    // 11:00 runs and is asked to end, 12:00 waited and was replaced by 13:00.
    assert_eq!(world.pushes.len(), 1);
    assert!(world.skipped()[0].starts_with("a later fire"), "{:?}", world.skipped());
    assert_eq!(world.cancelled.first(), world.last.map(|(id, _)| id).as_ref());
    world.end_task();
    assert_eq!(world.pushes, [11, 13].map(|h| ms(&format!("2026-11-20T{h}:00:00Z"))));
}

#[test]
fn pause_resume_and_by_hand() {
    let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", all(Missed::All, 50));
    world.schedule.pause();
    world.pass(5 * HOUR);
    assert_eq!((world.pushes.len(), world.schedule.wake_ms()), (0, None));
    assert_eq!(world.schedule.run(world.now), Ok(world.now.wall_ms));
    assert_eq!(world.schedule.run(world.now), Ok(world.now.wall_ms + 1));
    world.settle_all();
    assert_eq!((world.pushes.len(), world.mark), (2, ms("2026-11-20T10:30:00Z")));
    world.schedule.resume(world.now);
    world.pass(HOUR);
    assert_eq!(world.pushes.len(), 3, "the pause is not made up for");
}

#[test]
fn a_refusal_is_told_and_a_full_disk_is_waited_for() {
    let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", |_| {});
    world.now = world.now.plus(Duration::from_millis(HOUR));
    world.schedule.tick(world.now);
    assert!(matches!(world.schedule.order(), Some(Order::Step(_))));
    world.schedule.settle(Settle::Failed, world.now);
    assert_eq!(world.schedule.order(), None);
    let again = world.schedule.retry_at().unwrap();
    assert_eq!(again - world.now.at, Duration::from_secs(1));
    world.now = world.now.plus(Duration::from_secs(1));
    world.schedule.tick(world.now);
    assert!(matches!(world.schedule.order(), Some(Order::Step(step)) if step.what == What::Push));
    world.schedule.settle(Settle::Refused("queue full".into()), world.now);
    world.settle_all();
    assert_eq!(world.skipped(), ["its task was refused: queue full"]);
}

#[test]
fn jitter_is_the_same_for_the_same_fire_and_never_passes_the_next() {
    let jitter = |c: &mut ScheduleConfig| c.jitter = Duration::from_secs(7_200);
    let mut world = World::utc("0 * * * *", "2026-11-20T10:30:00Z", jitter);
    let mut lates = Vec::new();
    for _ in 0..200 {
        let (fire, due) = world.schedule.view().next.unwrap();
        assert!((fire..fire + HOUR).contains(&due));
        world.restart(0);
        assert_eq!(world.schedule.view().next, Some((fire, due)));
        lates.push(due - fire);
        let wait = due - world.now.wall_ms;
        world.pass(wait);
        assert_eq!(world.pushes.last(), Some(&fire));
    }
    let mean = lates.iter().sum::<u64>() / 200;
    assert!((HOUR / 3..2 * HOUR / 3).contains(&mean), "evenly drawn, mean {mean}");
}

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Clock(i64),
    /// The daemon dies after so many steps, the last of which it may not hear of.
    Die {
        steps: u8,
        heard: bool,
        away: u64,
    },
    End,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..4 * HOUR).prop_map(Event::Pass),
        1 => (-(HOUR as i64)..=HOUR as i64).prop_map(Event::Clock),
        3 => (0..4_u8, any::<bool>(), 0..3 * HOUR)
            .prop_map(|(steps, heard, away)| Event::Die { steps, heard, away }),
        2 => Just(Event::End),
    ]
}

proptest! {
    #[test]
    fn whatever_dies_every_fire_happens_once(
        events in proptest::collection::vec(event(), 1..40),
        overlap in prop_oneof![Just(Overlap::Allow), Just(Overlap::Queue)],
        jitter in prop_oneof![Just(0), Just(600_u64)],
        cron in prop_oneof![Just("*/20 * * * *"), Just("@every 17m"), Just("30 2 * * *")],
    ) {
        let plan = Plan::cron(cron, "Europe/Berlin").unwrap();
        let mut world = World::new(plan.clone(), "2026-03-28T20:00:00Z", |config| {
            (config.missed, config.missed_max) = (Missed::All, 10_000);
            (config.overlap, config.jitter) = (overlap, Duration::from_secs(jitter));
        });
        let (start, mut latest) = (world.now.wall_ms, world.now.wall_ms);
        for event in events {
            match event {
                Event::Pass(ms) => world.pass(ms),
                Event::Clock(by) => world.set_clock(by),
                Event::Die { steps, heard, away } => {
                    world.now = world.now.plus(Duration::from_millis(away));
                    world.schedule.tick(world.now);
                    for n in 1..=steps {
                        world.step(heard || n < steps);
                    }
                    world.restart(away);
                }
                Event::End => world.end_task(),
            }
            latest = latest.max(world.now.wall_ms);
        }
        while world.last.is_some_and(|(_, runs)| runs) {
            world.end_task();
        }
        world.settle_all();
        while world.last.is_some_and(|(_, runs)| runs) {
            world.end_task();
        }
        let mut expected = Vec::new();
        let mut at = start;
        while let Some(fire) = plan.after(at).filter(|f| *f <= latest) {
            expected.push(fire);
            at = fire;
        }
        let mut made = world.pushes.clone();
        let full = world.skipped().len();
        made.sort_unstable();
        let unique: std::collections::BTreeSet<_> = made.iter().collect();
        prop_assert_eq!(unique.len(), made.len(), "a fire happened twice");
        if full == 0 && jitter == 0 {
            prop_assert_eq!(&made, &expected);
        } else {
            // With jitter the last one may still be to come; with a full line some were left out, and told.
            prop_assert!(made.iter().all(|fire| expected.contains(fire)));
            prop_assert!(made.len() + full + 1 >= expected.len(), "{} of {}", made.len(), expected.len());
        }
    }
}
