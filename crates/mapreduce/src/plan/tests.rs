use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MAPS: u32 = 6;
const REDUCES: u32 = 3;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the plan's caller keeps: the manifest with its conditional rows, and the paths of attempts.
#[derive(Default)]
struct World {
    plan: Option<Plan>,
    manifest: BTreeMap<Task, AttemptId>,
    /// Whole results on disk.
    paths: BTreeSet<(Task, AttemptId)>,
    /// Given, and not told to drop yet; those of dead daemons stay.
    given: Vec<(Task, AttemptId, WorkerId)>,
    /// Rows to write.
    commits: Vec<(Task, AttemptId)>,
    revoked: BTreeSet<Task>,
    workers: u32,
    alive: Vec<WorkerId>,
    epoch: u32,
    now: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        world.restart();
        world.join();
        world.join();
        world
    }

    fn plan(&mut self) -> &mut Plan {
        self.plan.as_mut().unwrap()
    }

    /// The daemon dies: rows that were not written are lost, attempts go on and answer later.
    fn restart(&mut self) {
        self.epoch += 1;
        self.commits.clear();
        let rows: Vec<_> = self.manifest.iter().map(|(task, attempt)| (*task, *attempt)).collect();
        let settings = Settings { task_failures: 200, task_losses: 200, ..Settings::default() };
        self.plan = Some(Plan::new(MAPS, REDUCES, settings, self.epoch, rows));
        for worker in self.alive.clone() {
            self.plan().join(worker);
        }
    }

    fn join(&mut self) {
        self.workers += 1;
        self.alive.push(WorkerId(self.workers));
        let worker = WorkerId(self.workers);
        self.plan().join(worker);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Commit { task, attempt } => self.commits.push((task, attempt)),
                Action::Revoke { task, attempt } => {
                    assert_eq!(self.manifest.remove(&task), Some(attempt));
                    self.revoked.insert(task);
                }
                Action::Drop { task, attempt } => {
                    assert_ne!(self.manifest.get(&task), Some(&attempt), "a result that counts");
                    self.paths.remove(&(task, attempt));
                    self.given.retain(|(_, given, _)| *given != attempt);
                }
                Action::SetAside { worker } => self.alive.retain(|alive| *alive != worker),
                Action::Dead { task, why } => panic!("{task:?} is dead: {why}"),
            }
        }
    }

    fn assign(&mut self, worker: WorkerId) {
        let now = at(self.now);
        let Some(given) = self.plan().assign(worker, now) else { return };
        assert!(!self.manifest.contains_key(&given.task), "{:?} runs again", given.task);
        if matches!(given.task, Task::Reduce(_)) {
            let maps = self.manifest.keys().filter(|task| matches!(task, Task::Map(_))).count();
            assert_eq!(maps, MAPS as usize, "a reduce before its maps");
        }
        self.given.push((given.task, given.attempt, worker));
    }

    /// A row is written if none stands there, and the answer may be told twice.
    fn commit(&mut self, n: usize, twice: bool) {
        if self.commits.is_empty() {
            return;
        }
        let (task, attempt) = self.commits.remove(n % self.commits.len());
        for _ in 0..=usize::from(twice) {
            let actions = match self.manifest.get(&task) {
                Some(other) if *other != attempt => self.plan().refused(attempt),
                _ => {
                    self.manifest.insert(task, attempt);
                    self.plan().committed(attempt)
                }
            };
            self.act(actions);
        }
    }

    fn answer(&mut self, n: usize, fails: bool, twice: bool) {
        if self.given.is_empty() {
            return;
        }
        let at_index = n % self.given.len();
        let (task, attempt, _) = self.given[at_index];
        let now = at(self.now);
        for _ in 0..=usize::from(twice) {
            let actions = if fails {
                self.plan().failed(attempt, "because")
            } else {
                self.paths.insert((task, attempt));
                self.plan().finished(attempt, now)
            };
            self.act(actions);
        }
        self.given.retain(|(_, given, _)| *given != attempt);
    }

    fn lose_spill(&mut self, n: usize) {
        let maps: Vec<_> =
            self.manifest.iter().filter(|(task, _)| matches!(task, Task::Map(_))).collect();
        if maps.is_empty() {
            return;
        }
        let (task, attempt) = maps[n % maps.len()];
        let (task, attempt) = (*task, *attempt);
        let Task::Map(split) = task else { unreachable!("a map") };
        let reader = self.given.iter().find(|(task, ..)| matches!(task, Task::Reduce(_)));
        let reader = reader.map(|(_, attempt, _)| *attempt);
        for _ in 0..2 {
            let actions = self.plan().spill_lost(split, attempt, reader);
            self.act(actions);
        }
    }

    fn lose_worker(&mut self, n: usize) {
        if self.alive.is_empty() {
            return;
        }
        let worker = self.alive.remove(n % self.alive.len());
        let now = at(self.now);
        let actions = self.plan().lost(worker, now);
        self.act(actions);
        assert!(self.plan().lost(worker, now).is_empty(), "lost twice");
    }

    /// Without more faults it comes to its end.
    fn run_out(&mut self) {
        for _ in 0..500 {
            self.now += 1;
            if self.plan().phase() == Phase::Finished {
                return;
            }
            self.join();
            for worker in self.alive.clone() {
                self.assign(worker);
            }
            self.answer(0, false, false);
            self.commit(0, false);
        }
        panic!("no end: {:?}", self.plan().phase());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever dies, answers twice or is lost: in the end every task has one row, the row's result is there, and no
    /// committed task was given out again unless its result was lost.
    #[test]
    fn the_same_result_whatever_dies(
        steps in prop::collection::vec((0_u8..20, 0_usize..8, any::<bool>()), 0..150)
    ) {
        let mut world = World::new();
        for (step, n, flag) in steps {
            world.now += 1;
            match step {
                0..7 => if let Some(worker) = world.alive.get(n).copied() { world.assign(worker) },
                7..12 => world.answer(n, false, flag),
                12 => world.answer(n, true, flag),
                13..16 => world.commit(n, flag),
                16 => world.lose_worker(n),
                17 => world.join(),
                18 => world.lose_spill(n),
                _ => if flag { world.restart() } else { let now = at(world.now); world.plan().tick(now) },
            }
        }
        world.run_out();
        prop_assert_eq!(world.manifest.len() as u32, MAPS + REDUCES);
        for (task, attempt) in &world.manifest {
            prop_assert!(world.paths.contains(&(*task, *attempt)), "{:?} {} is gone", task, attempt);
        }
        let rows: Vec<_> = world.manifest.clone().into_iter().collect();
        for (task, attempt) in rows {
            prop_assert_eq!(world.plan().winner(task), Some(attempt));
        }
    }
}

fn two_workers(maps: u32, settings: Settings) -> Plan {
    let mut plan = Plan::new(maps, 1, settings, 1, []);
    plan.join(WorkerId(0));
    plan.join(WorkerId(1));
    plan
}

fn settle(plan: &mut Plan, attempt: AttemptId, now: u64) -> Vec<Action> {
    assert!(matches!(plan.finished(attempt, at(now))[..], [Action::Commit { .. }]));
    plan.committed(attempt)
}

#[test]
fn a_task_that_fails_everywhere_is_dead_and_told_with_its_reason() {
    for fail_on_dead in [true, false] {
        let mut plan = two_workers(1, Settings { fail_on_dead, ..Settings::default() });
        let mut told = Vec::new();
        for n in 0..4 {
            let given = plan.assign(WorkerId(n % 2), at(0)).unwrap();
            assert_eq!(plan.assign(WorkerId((n + 1) % 2), at(0)), None);
            told = plan.failed(given.attempt, "record at byte 7");
        }
        assert!(
            told.contains(&Action::Dead { task: Task::Map(0), why: "record at byte 7".into() })
        );
        assert_eq!(plan.dead().collect::<Vec<_>>(), [Task::Map(0)]);
        if fail_on_dead {
            let why = "record at byte 7".to_owned();
            assert_eq!(plan.phase(), Phase::Failed { task: Task::Map(0), why });
            assert_eq!(plan.assign(WorkerId(0), at(0)), None);
        } else {
            let given = plan.assign(WorkerId(0), at(0)).unwrap();
            settle(&mut plan, given.attempt, 1);
            assert_eq!(plan.phase(), Phase::Finished);
        }
    }
}

#[test]
fn a_bad_worker_is_set_aside_and_its_failures_charged_to_nobody() {
    let mut plan = two_workers(10, Settings { task_failures: 2, ..Settings::default() });
    let mut actions = Vec::new();
    let mut failed = Vec::new();
    for _ in 0..3 {
        let given = plan.assign(WorkerId(0), at(0)).unwrap();
        failed.push(given.task);
        actions = plan.failed(given.attempt, "no such program");
    }
    assert!(actions.contains(&Action::SetAside { worker: WorkerId(0) }));
    assert_eq!(plan.assign(WorkerId(0), at(0)), None);
    // One failure more would be the second, were they charged.
    let given = plan.assign(WorkerId(1), at(0)).unwrap();
    assert!(failed.contains(&given.task));
    assert_eq!(plan.failed(given.attempt, "x").len(), 1);
    assert_eq!(plan.dead().count(), 0);
}

#[test]
fn work_that_kills_its_workers_ends() {
    let mut plan = Plan::new(1, 0, Settings { task_losses: 3, ..Settings::default() }, 1, []);
    for n in 0..3 {
        assert_eq!(plan.phase(), Phase::Mapping);
        plan.join(WorkerId(n));
        assert!(plan.assign(WorkerId(n), at(0)).is_some());
        plan.lost(WorkerId(n), at(0));
    }
    assert!(matches!(plan.phase(), Phase::Failed { .. }));
}

#[test]
fn a_straggler_is_done_twice_and_the_first_counts() {
    let mut plan = two_workers(3, Settings::default());
    let slow = plan.assign(WorkerId(0), at(0)).unwrap();
    for n in 0..2 {
        let given = plan.assign(WorkerId(1), at(n)).unwrap();
        settle(&mut plan, given.attempt, n + 1);
    }
    plan.progress(slow.attempt, 0.5);
    assert_eq!(plan.assign(WorkerId(1), at(2)), None, "it ends as soon as a new one would");
    plan.progress(slow.attempt, 0.1);
    assert_eq!(plan.assign(WorkerId(0), at(4)), None, "not on its own worker");
    let second = plan.assign(WorkerId(1), at(4)).unwrap();
    assert!(second.speculative && second.task == slow.task);
    plan.join(WorkerId(2));
    assert_eq!(plan.assign(WorkerId(2), at(9)), None, "not a third time");
    let actions = settle(&mut plan, second.attempt, 5);
    assert_eq!(actions, [Action::Drop { task: slow.task, attempt: slow.attempt }]);
    assert_eq!(plan.finished(slow.attempt, at(9)), []);
    assert_eq!(plan.refused_answers().stale, 1);
    assert_eq!(plan.winner(slow.task), Some(second.attempt));
}

#[test]
fn without_workers_it_is_stalled_with_a_reason_and_goes_on_when_one_joins() {
    let mut plan = two_workers(2, Settings::default());
    plan.lost(WorkerId(0), at(1));
    plan.tick(at(100));
    assert_eq!(plan.phase(), Phase::Mapping);
    plan.lost(WorkerId(1), at(100));
    plan.tick(at(114));
    assert_eq!(plan.phase(), Phase::Mapping);
    plan.tick(at(115));
    let Phase::Stalled { why } = plan.phase() else { panic!("{:?}", plan.phase()) };
    assert!(why.contains("2 died"), "{why}");
    plan.join(WorkerId(7));
    assert_eq!(plan.phase(), Phase::Mapping);
    assert!(plan.assign(WorkerId(7), at(116)).is_some());
}

#[test]
fn what_is_committed_does_not_run_again_after_a_restart() {
    let row = (Task::Map(1), AttemptId { epoch: 1, number: 9 });
    let mut plan = Plan::new(3, 0, Settings::default(), 2, [row]);
    let mut seen = Vec::new();
    for n in 0..3 {
        plan.join(WorkerId(n));
        seen.extend(plan.assign(WorkerId(n), at(0)).map(|given| given.task));
    }
    assert_eq!(seen, [Task::Map(0), Task::Map(2)]);
    assert_eq!(plan.finished(AttemptId { epoch: 1, number: 1 }, at(0)), []);
    assert_eq!(plan.refused_answers().stale, 1);
    assert_eq!(row.1.file_name(row.0), "map-000001.1-9");
}

/// M8: a split that waits, runs or is done takes 16 bytes.
#[test]
fn a_hundred_thousand_tasks_take_little_memory() {
    let mut plan = Plan::new(100_000, 16, Settings::default(), 1, []);
    plan.join(WorkerId(0));
    for n in 0..1000 {
        let given = plan.assign(WorkerId(0), at(n)).unwrap();
        settle(&mut plan, given.attempt, n);
    }
    assert!(plan.memory() <= 100_000 * 20, "{}", plan.memory());
}
