//! Keys and answers in any order: the model stays sound, and nothing is done that was not confirmed.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ganger_api::{Costs, Instance, LogLine, Queue};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Milliseconds since 1970: 2026-11-22T10:00:00Z.
pub(crate) const NOW: u64 = 1_795_341_600_000;

pub(crate) fn instance(name: &str, slot: u32, state: &str) -> Instance {
    let lives = ["running", "starting", "stopping"].contains(&state);
    let kind = if name.starts_with("images") { "worker" } else { "service" };
    let pid = lives.then_some(4_000 + slot);
    serde_json::from_value(json!({
        "name": name, "slot": slot, "kind": kind, "state": state, "ready": state == "running",
        "pid": pid, "restarts": slot - 1, "started_at": "2026-11-22T09:58:30.000Z",
        "reason": if lives { "" } else { "exited with code 1" },
        "next_try_s": if state == "backoff" { json!(3.0) } else { json!(null) },
    }))
    .unwrap()
}

pub(crate) fn queue(name: &str, available: u64, ended: u64) -> Queue {
    serde_json::from_value(json!({
        "v": 1, "name": name, "paused": false, "durability": "fsync", "oldest_age_s": 7.2,
        "counts": {"scheduled": 3, "available": available, "running": 4, "retryable": 1,
                   "completed": ended, "cancelled": 0, "discarded": 2},
    }))
    .unwrap()
}

pub(crate) fn costs(at_ms: u64, of: &[(&str, u32, f64)]) -> Costs {
    let instances: Vec<_> = of
        .iter()
        .map(|(name, slot, cpu)| {
            json!({"name": name, "slot": slot, "cpu_percent": cpu, "cpu_s": 9.0,
                   "memory_bytes": 64_000_000 + slot, "processes": 1, "threads": 5, "fds": 21, "fds_percent": 2.1,
                   "read_bytes": at_ms - NOW, "written_bytes": (at_ms - NOW) * 4})
        })
        .collect();
    let seconds = (at_ms - NOW) as f64 / 1e3;
    serde_json::from_value(json!({
        "v": 1, "at": ganger_api::Timestamp(at_ms), "passed_s": 1.0,
        "host": {"cpu_busy_s": seconds * 0.6, "cpu_all_s": seconds * 2.0, "memory_total_bytes": 8_u64 << 30,
                 "memory_available_bytes": 5_u64 << 30, "load": 0.42},
        "instances": instances,
    }))
    .unwrap()
}

/// Two services, a pool, two queues.
pub(crate) fn stack(second: u64) -> Data {
    let at = NOW + second * 1_000;
    let wave = (second % 7) as f64 * 9.0;
    let of = [("web", 1, wave), ("web", 2, 60.0 - wave), ("images", 1, 100.0), ("images", 2, 3.5)];
    Data {
        instances: vec![
            instance("db", 1, "backoff"),
            instance("images", 1, "running"),
            instance("images", 2, "running"),
            instance("web", 1, "running"),
            instance("web", 2, "running"),
            instance("web", 3, "starting"),
        ],
        queues: Some(vec![
            queue("images", 120 + second, 1_000 + second * 50),
            queue("mail", 0, 12),
        ]),
        costs: Some(costs(at, &of)),
    }
}

pub(crate) fn line(text: &str, slot: u32) -> LogLine {
    serde_json::from_value(json!({
        "v": 1, "ts": "2026-11-22T10:00:00.123Z", "name": "web", "slot": slot, "stream": "stdout", "line": text,
    }))
    .unwrap()
}

/// A model that was looked at for so many seconds.
pub(crate) fn model(seconds: u64) -> Model {
    let mut model = Model::default();
    for second in 0..seconds {
        model.at(NOW + second * 1_000);
        model.update(Update::Fresh(Box::new(stack(second))));
    }
    model
}

pub(crate) fn press(model: &mut Model, keys: &str) -> Vec<Ask> {
    let code = |c| match c {
        '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '\x1b' => KeyCode::Esc,
        c => KeyCode::Char(c),
    };
    let press = |c| model.key(KeyEvent::new(code(c), KeyModifiers::NONE));
    keys.chars().filter_map(press).collect()
}

fn ids(model: &Model) -> Vec<String> {
    model.rows.iter().map(|row| row.id.to_string()).collect()
}

#[test]
fn services_come_before_pools_and_instances_below_both() {
    let mut model = model(3);
    let all = ["db", "web", "web#1", "web#2", "web#3", "images", "images#1", "images#2"];
    assert_eq!(ids(&model), all);
    assert_eq!(model.selected.as_ref().unwrap().to_string(), "db");
    // By state: what is down first. By processor time: the pool is the busiest.
    press(&mut model, "o");
    assert_eq!(ids(&model)[..2], ["db", "web"]);
    press(&mut model, "o");
    assert_eq!(ids(&model)[..2], ["images", "images#1"]);
    press(&mut model, "O");
    assert_eq!(ids(&model).last().unwrap(), "images#1");
}

#[test]
fn a_sum_is_of_all_its_instances() {
    let model = model(3);
    let web = &model.rows[1];
    assert_eq!((web.cpu, web.slots.len(), web.ready_count), (Some(60.0), 3, 2));
    assert_eq!(web.memory, Some(128_000_003));
    assert_eq!(web.state.as_str(), "starting", "the worst of them");
    assert_eq!(model.trace.cpu_of("web", &[1, 2]), [60.0, 60.0, 60.0]);
    assert_eq!(model.trace.queue("images").unwrap().ended.newest(), Some(50.0));
    assert_eq!(model.trace.host.newest().map(f64::round), Some(30.0));
    let disk = model.trace.instance("web", 1).unwrap().disk.unwrap();
    assert_eq!(disk, (1_000.0, 4_000.0));
}

#[test]
fn a_filter_keeps_the_service_above_what_fits() {
    let mut model = model(2);
    press(&mut model, "/WEB#2");
    assert_eq!(ids(&model), ["web", "web#2"]);
    press(&mut model, "\nj");
    assert_eq!(model.selected.as_ref().unwrap().to_string(), "web#2");
    press(&mut model, "\x1b");
    assert_eq!(ids(&model).len(), 8);
    press(&mut model, "/exited");
    assert_eq!(ids(&model), ["db"]);
    press(&mut model, "zzz");
    assert_eq!((ids(&model).len(), &model.selected), (0, &None));
}

#[test]
fn folding_hides_instances_and_selects_their_service() {
    let mut model = model(2);
    press(&mut model, "jjj ");
    assert_eq!(model.selected, Some(RowId::Name("web".into())));
    assert_eq!(ids(&model), ["db", "web", "images", "images#1", "images#2"]);
    assert!(model.rows[1].folded);
    press(&mut model, " ");
    assert_eq!(ids(&model).len(), 8);
}

#[test]
fn nothing_is_done_without_a_yes() {
    let mut model = model(2);
    assert_eq!(press(&mut model, "r"), []);
    assert!(matches!(&model.mode, Mode::Confirm(action) if action.to_string() == "restart db"));
    assert_eq!(press(&mut model, "n"), []);
    assert_eq!(model.notice.as_ref().unwrap().text, "not done: restart db");
    let asked = press(&mut model, "jjxy");
    assert_eq!(asked, [Ask::Act(Action { verb: Verb::Stop, target: "web#1".into() })]);
    let asked = press(&mut model, "+y");
    let verb = Verb::Scale { from: 3, to: 4 };
    assert_eq!(asked, [Ask::Act(Action { verb, target: "web".into() })], "of the whole service");
    press(&mut model, "\tp");
    assert!(
        matches!(&model.mode, Mode::Confirm(action) if action.to_string() == "pause queue images")
    );
    assert_eq!(press(&mut model, "\x1br"), [], "queues are not restarted");
    assert_eq!(model.mode, Mode::Browse);
}

#[test]
fn a_daemon_that_is_away_is_said_to_be_and_comes_back() {
    let mut model = model(2);
    model.at(NOW + 10_000);
    model.update(Update::Away("no daemon".into()));
    model.at(NOW + 14_000);
    model.update(Update::Away("still none".into()));
    assert_eq!(model.away, Some((NOW + 10_000, "still none".into())), "since the first time");
    assert_eq!(model.rows.len(), 8, "what was known is still shown");
    model.update(Update::Fresh(Box::new(stack(14))));
    assert_eq!(
        (model.away.clone(), &*model.notice.as_ref().unwrap().text),
        (None, "the daemon is back after 4s")
    );
    model.at(NOW + 60_000);
    assert_eq!(model.notice, None);
}

#[test]
fn the_log_follows_the_selected_line_and_holds_still_for_who_reads() {
    let mut model = model(2);
    press(&mut model, "jl");
    assert_eq!(model.log_target().as_deref(), Some("web"));
    press(&mut model, "j");
    assert_eq!(model.log_target().as_deref(), Some("web#1"));
    (0..50).for_each(|n| model.update(Update::Line(line(&format!("line {n}"), 1))));
    press(&mut model, "\t\tkkk");
    let newest =
        |model: &Model| model.log.window(1).map(|line| line.line.clone()).collect::<Vec<_>>();
    assert_eq!((model.pane, newest(&model)), (Pane::Log, vec!["line 46".to_owned()]));
    model.update(Update::Line(line("line 50", 1)));
    assert_eq!(newest(&model), ["line 46"]);
    press(&mut model, "f");
    assert_eq!(newest(&model), ["line 50"]);
    (0..log::LINES + 9).for_each(|n| model.update(Update::Line(line(&n.to_string(), 1))));
    assert_eq!(model.log.lines.len(), log::LINES);
    press(&mut model, "l");
    assert_eq!((model.log_target(), model.pane), (None, Pane::Processes));
}

#[test]
fn the_past_of_who_is_gone_is_forgotten() {
    let mut model = model(70);
    assert_eq!(model.trace.instance("web", 1).unwrap().cpu.iter().len(), trace::KEPT);
    model.update(Update::Fresh(Box::new(Data {
        instances: vec![instance("web", 2, "running")],
        ..Data::default()
    })));
    assert!(model.trace.instance("web", 1).is_none() && model.trace.instance("web", 2).is_some());
    assert!(model.trace.queue("images").is_none());
    assert_eq!(ids(&model), ["web"], "the only instance is its service");
}

/// Anything that can happen.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Key(KeyEvent),
    Fresh(Data),
    Away,
    Line(String),
    Passes(u64),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let known = proptest::sample::select("qjkgGlorxs+-pyf/?h OR\n\t".chars().collect::<Vec<_>>());
    let code = prop_oneof![
        6 => known.prop_map(|c| match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            c => KeyCode::Char(c),
        }),
        1 => any::<char>().prop_map(KeyCode::Char),
        2 => proptest::sample::select(vec![
            KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right, KeyCode::PageUp, KeyCode::PageDown,
            KeyCode::Home, KeyCode::End, KeyCode::Esc, KeyCode::Backspace, KeyCode::BackTab, KeyCode::Delete,
        ]),
    ];
    let key = code.prop_map(|code| Step::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    let states = ["stopped", "starting", "running", "stopping", "backoff", "failed"];
    let one = ("[a-c]{1,2}|images|é{1,40}", 1_u32..5, proptest::sample::select(states.to_vec()));
    let instances = proptest::collection::btree_map((one.0, one.1), one.2, 0..12);
    let fresh = (instances, 0_u64..1_000, 0.0..900.0_f64, any::<[bool; 2]>());
    let fresh = fresh.prop_map(|(all, second, cpu, [queues, costed])| {
        let of: Vec<(&str, u32, f64)> =
            all.keys().map(|(name, slot)| (&**name, *slot, cpu)).collect();
        let costs = costed.then(|| costs(NOW + second * 1_000, &of));
        let instances =
            all.iter().map(|((name, slot), state)| instance(name, *slot, state)).collect();
        let queues =
            queues.then(|| (0..second % 9).map(|n| queue(&format!("q{n}"), n, second)).collect());
        Step::Fresh(Data { instances, queues, costs })
    });
    prop_oneof![
        8 => key,
        3 => fresh,
        1 => Just(Step::Away),
        2 => any::<String>().prop_map(Step::Line),
        1 => (0_u64..20_000).prop_map(Step::Passes),
    ]
}

impl Step {
    /// What was asked for, if anything.
    pub(crate) fn take(self, model: &mut Model) -> Option<Ask> {
        match self {
            Self::Key(key) => return model.key(key),
            Self::Fresh(data) => model.update(Update::Fresh(Box::new(data))),
            Self::Away => model.update(Update::Away("gone".into())),
            Self::Line(text) => model.update(Update::Line(line(&text, 1))),
            Self::Passes(ms) => model.at(model.now_ms + ms),
        }
        None
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_stays_sound(steps in proptest::collection::vec(step(), 0..60)) {
        let mut model = Model::default();
        model.at(NOW);
        for step in steps {
            let asked_before = match &model.mode {
                Mode::Confirm(action) => Some(action.clone()),
                _ => None,
            };
            let yes = matches!(&step, Step::Key(key) if matches!(key.code, KeyCode::Char('y' | 'Y')));
            if let Some(Ask::Act(action)) = step.take(&mut model) {
                prop_assert!(yes);
                prop_assert_eq!(Some(action), asked_before, "what was asked is what is done");
            }
            // One line is selected, of those there are.
            prop_assert_eq!(model.selected_at().is_some(), !model.rows.is_empty());
            prop_assert!(model.queue < model.queues().len().max(1));
            prop_assert!(model.log.back <= model.log.lines.len());
            prop_assert!(model.pane != Pane::Log || model.log.of.is_some());
            prop_assert!(model.pane != Pane::Queues || !model.queues().is_empty());
            // Each instance of a service that is shown whole stands below it, once.
            let mut seen = ids(&model);
            seen.sort();
            let all = seen.len();
            seen.dedup();
            prop_assert_eq!(all, seen.len());
        }
    }
}
