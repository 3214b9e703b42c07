//! The budget: never more than it says, nobody forgotten, turns taken.

use ganger_core::InstanceId;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;

fn of(count: u32, burst: u32) -> Rate {
    Rate { count, burst, ..RESTARTS }
}

fn rate() -> impl Strategy<Value = Rate> {
    (1u32..200, 1u32..300).prop_map(|(count, burst)| of(count, burst))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever comes when: in no window do more go than burst + rate × window, and as soon as one may go it goes.
    #[test]
    fn kept_in_every_window(
        rate in rate(),
        story in prop::collection::vec((0u64..300, 0u8..4, 0u8..3), 1..200),
    ) {
        let begin = Instant::now();
        let (mut budget, mut now, mut went, mut pushed) = (Budget::new(rate), begin, vec![], 0u32);
        let drain = |budget: &mut Budget<u32>, now: Instant, went: &mut Vec<Instant>| loop {
            match budget.next(now, |_| true) {
                Next::Go(_) => went.push(now),
                other => return other,
            }
        };
        for (ms, service, priority) in story {
            budget.push(&format!("s{service}"), Priority(priority), pushed);
            pushed += 1;
            let until = now + Duration::from_millis(ms);
            while let Next::At(at) = drain(&mut budget, now, &mut went) {
                prop_assert!(at > now);
                if at > until { break }
                now = at;
            }
            now = until;
        }
        while let Next::At(at) = drain(&mut budget, now, &mut went) {
            now = at;
        }
        prop_assert_eq!(went.len(), pushed as usize, "nobody is forgotten");
        for (i, from) in went.iter().enumerate() {
            for (j, to) in went.iter().enumerate().skip(i) {
                let allowed = f64::from(rate.burst)
                    + to.duration_since(*from).as_secs_f64() * f64::from(rate.count) + 1e-3;
                prop_assert!((j - i + 1) as f64 <= allowed, "{} starts, {allowed} allowed", j - i + 1);
            }
        }
    }
}

fn order(budget: &mut Budget<&'static str>, mut now: Instant) -> Vec<&'static str> {
    let mut order = vec![];
    loop {
        match budget.next(now, |wish| *wish != "void") {
            Next::Go(wish) => order.push(wish),
            Next::At(at) => now = at,
            Next::Idle => return order,
        }
    }
}

#[test]
fn priorities_first_then_turns() {
    let mut budget = Budget::new(of(10, 1));
    for wish in ["a1", "a2", "a3", "void"] {
        budget.push("a", Priority::NORMAL, wish);
    }
    budget.push("b", Priority::NORMAL, "b1");
    budget.push("low", Priority::LOW, "l1");
    budget.push("db", Priority::HIGH, "void");
    budget.push("db", Priority::HIGH, "d1");
    assert_eq!(order(&mut budget, Instant::now()), ["d1", "a1", "b1", "a2", "a3", "l1"]);
}

#[tokio::test(start_paused = true)]
async fn the_task_permits_at_its_pace_and_forgets_who_left() {
    let (set, rate) = watch::channel(of(10, 2));
    let (permits, task) = start(rate);
    let task = tokio::spawn(task);
    let begun = tokio::time::Instant::now();
    let mut answers = vec![];
    for slot in 1..=5 {
        let (reply, answer) = oneshot::channel();
        let id = InstanceId::new("web", slot);
        let (priority, crashes, gave_up) = (Priority::NORMAL, 1, false);
        permits.pass(Ask { id, priority, crashes, gave_up, reply }).await;
        answers.push(answer);
    }
    answers.remove(3);
    let mut at = vec![];
    for answer in answers {
        answer.await.unwrap();
        at.push(begun.elapsed().as_millis());
    }
    // Timers are exact to the millisecond, rounded up.
    assert_eq!(at.iter().map(|ms| ms / 50).collect::<Vec<_>>(), [0, 0, 2, 4]);
    set.send_replace(of(1, 1));
    drop(permits);
    task.await.unwrap();
}
