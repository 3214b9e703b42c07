//! Days of honest work raise nothing.

use super::*;

/// A small generator with a fixed seed: the same days each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Ten working days of four people and two machines: builds, typing errors, commit messages full of backticks, a job that
/// times out now and then, a loop that meets its rate, policies that are replaced, a daemon that restarts.
#[test]
fn ten_days_raise_nothing() {
    let mut story = Story::plain();
    let mut dice = Dice(7);
    let programs = ["/usr/bin/git", "/usr/bin/tar", "/usr/bin/gcc", "/usr/bin/jq", "/usr/bin/make"];
    let people = ["ada", "bob", "cem", "dora", "ci", "cron"];
    story.load("sha-0", None);
    for day in 0..10 {
        for minute in 0..480 {
            story.wait_ms(60_000);
            for _ in 0..2 {
                let name = people[dice.roll(6) as usize];
                work(&mut story, &mut dice, name, &programs);
            }
            if minute == 240 {
                let (old, new) = (format!("sha-{day}"), format!("sha-{}", day + 1));
                story.load(&new, Some(&old));
            }
        }
        let started = Started { boot_id: Some("b1".into()), ..Started::default() };
        story.event(None, None, Event::Record(Record::Started(started)));
        story.wait_ms(16 * 3_600_000);
    }
    assert!(story.seq > 10_000, "{}", story.seq);
    assert_eq!(story.raised, []);
}

fn work(story: &mut Story, dice: &mut Dice, name: &str, programs: &[&str]) {
    match dice.roll(200) {
        0 => {
            story.denied(name, "option", |_| {});
        }
        1 => {
            story.denied(name, "path", |denied| denied.argv = vec!["git".into(), "../x".into()]);
        }
        2 => {
            story.denied(name, "value", |denied| denied.flags = vec!["separator".into()]);
        }
        3 => {
            story.run(name, "/usr/bin/make", Ending::TimedOut { after_ms: 20 });
        }
        4 => (0..20).for_each(|_| {
            story.denied(name, "rate", |_| {});
        }),
        5..15 => {
            let flags = |intent: &mut Intent| intent.flags = vec!["substitution".into()];
            story.run_as(&who(name), "/usr/bin/git", OK, flags, |_| {});
        }
        15..30 => {
            story.run(name, "/usr/bin/gcc", Ending::Exited { code: 1 });
        }
        _ => {
            let program = programs[dice.roll(programs.len() as u64) as usize];
            story.run(name, program, OK);
        }
    }
}
