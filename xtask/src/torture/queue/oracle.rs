//! What must be true of a queue after any kill.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::Story;
use super::client::{Acknowledged, Told};
use super::notes::{self, Note, Token, token_of};
use super::site::Site;
use crate::torture::http::Http;
use crate::torture::verdict::Verdict;

/// What a power cut may take of a `relaxed` queue: docs/design/004-queue.md states it.
pub(crate) const RELAXED_WINDOW: Duration = Duration::from_secs(1);
/// An attempt that has ended is in flight until its outcome is committed; a loaded disk takes its time for that.
const UNCOMMITTED: Duration = Duration::from_secs(1);

/// So long a worker may go on with what a killed daemon had sent it, before another daemon is there.
const ORPHAN: Duration = Duration::from_secs(5);

/// An attempt as the ledger has it.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    token: Token,
    pid: i32,
    start_ns: u64,
    end_ns: Option<u64>,
}

/// What the fenced workers answer.
#[derive(Debug, Deserialize)]
struct Answer {
    n: u64,
    token: String,
    pid: i32,
    /// A second answer of the attempt, given when others had been worked on since.
    #[serde(default)]
    zombie: bool,
}

/// Everything that is known of one run.
struct Case<'a> {
    story: &'a Story,
    attempts: BTreeMap<u64, Vec<Attempt>>,
    /// When the first attempt of each daemon started, by its epoch.
    takeovers: BTreeMap<u64, u64>,
}

/// Asks the daemon about every acknowledged task and compares with ledger and client.
pub(crate) fn ask(site: &Site, story: &Story, power: bool, verdict: &mut Verdict) -> Result<()> {
    let notes = notes::all(&site.ledger)?;
    let case = Case::new(story, &notes);
    let (mut lost, mut undone, mut stale, mut changed, mut forgotten) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0_usize);
    let mut http = Http::connect(&site.state_dir)?;
    for task in &story.known.acknowledged {
        let told = match http.get::<Told>(&format!("/tasks/{}", task.id)) {
            Ok(told) => told,
            Err(error) if error.to_string().contains(" 404 ") => {
                if case.may_be_forgotten(task.at_ns) {
                    forgotten += 1;
                } else {
                    lost.push(format!("{} (n={})", task.id, task.n));
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        if told.state != "completed" {
            undone.push(format!("{} (n={}) is {}", task.id, task.n, told.state));
            continue;
        }
        stale.extend(case.stale(task, &told));
        if let Some(seen) = story.known.seen.get(&task.id)
            && seen.result != told.result
            && !case.may_be_forgotten(seen.at_ns)
        {
            changed.push(format!(
                "{} (n={}): {} became {}",
                task.id, task.n, seen.result, told.result
            ));
        }
    }
    let acknowledged = story.known.acknowledged.len();
    verdict.so("tasks were acknowledged", acknowledged > 0, "not one");
    let but =
        if forgotten > 0 { format!(" but {forgotten} within the window") } else { String::new() };
    verdict.claim(&format!("no acknowledged task is lost ({acknowledged}{but})"), &lost);
    verdict.claim("all of them are completed", &undone);
    verdict.claim("no stale completion was accepted", &stale);
    verdict.claim("what a client saw completed stays as it saw it", &changed);
    let (doubles, wrong, again) = case.doubles();
    let all: usize = case.attempts.values().map(Vec::len).sum();
    verdict.claim(
        &format!("only attempts in flight at a kill ran twice ({doubles} of {all})"),
        &wrong,
    );
    verdict.claim("nothing ran again after its completion was seen", &again);
    verdict.claim("no attempt overlaps another of its task", &case.overlaps(&notes));
    verdict.claim("fences only grow", &case.fences());
    verdict
        .claim("pushes were acknowledged, or refused while nobody was there", &story.known.failed);
    let working = story.kills.iter().filter(|kill| kill.running > 0).count();
    let kills = story.kills.len();
    verdict.so(
        &format!("most kills met running attempts ({working} of {kills})"),
        working * 2 > kills,
        "too few: the killer meets an idle queue",
    );
    if power {
        power_was_cut(story, forgotten, &case, verdict);
    } else {
        let zombies = notes.iter().filter(|note| note.what == 'Z').count();
        verdict.so(&format!("zombies tried ({zombies} times)"), zombies > 0, "not one");
    }
    Ok(())
}

/// With `relaxed` something must have been forgotten, or this run has not shown anything.
fn power_was_cut(story: &Story, forgotten: usize, case: &Case<'_>, verdict: &mut Verdict) {
    if story.may_forget.is_none() {
        return;
    }
    let reverted = story
        .known
        .acknowledged
        .iter()
        .filter(|task| {
            let seen = story.known.seen.get(&task.id);
            seen.is_some_and(|seen| case.ran_after(task.n, seen.at_ns).is_some())
        })
        .count();
    verdict.so(
        &format!("power cuts took something: {forgotten} tasks, {reverted} completions"),
        forgotten + reverted > 0,
        "the disk forgot nothing: is the build without the feature?",
    );
}

/// Attempts by task, in the order of their fences.
fn attempts(notes: &[Note]) -> BTreeMap<u64, Vec<Attempt>> {
    let mut found: BTreeMap<u64, Vec<Attempt>> = BTreeMap::new();
    for note in notes {
        let attempts = found.entry(note.n).or_default();
        match note.what {
            'S' => attempts.push(Attempt {
                token: note.token,
                pid: note.pid,
                start_ns: note.ns,
                end_ns: None,
            }),
            'E' => {
                let open = attempts.iter_mut().rev();
                if let Some(open) =
                    open.into_iter().find(|a| (a.token, a.pid) == (note.token, note.pid))
                {
                    open.end_ns = Some(note.ns);
                }
            }
            _ => {}
        }
    }
    for attempts in found.values_mut() {
        attempts.sort_by_key(|attempt| attempt.start_ns);
    }
    found
}

const fn nanos(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000_000 + duration.subsec_nanos() as u64
}

impl<'a> Case<'a> {
    fn new(story: &'a Story, notes: &[Note]) -> Self {
        let mut takeovers = BTreeMap::new();
        for note in notes.iter().filter(|note| note.what == 'S') {
            let first = takeovers.entry(note.token.0).or_insert(note.ns);
            *first = note.ns.min(*first);
        }
        Self { story, attempts: attempts(notes), takeovers }
    }

    fn of(&self, n: u64) -> &[Attempt] {
        self.attempts.get(&n).map_or(&[], Vec::as_slice)
    }

    /// True if what was told at `ns` lies within what a power cut after it may take.
    fn may_be_forgotten(&self, ns: u64) -> bool {
        let Some(window) = self.story.may_forget else { return false };
        let ends = self.ends();
        ends.iter().any(|(from, to)| *to >= ns && from.saturating_sub(ns) <= nanos(window))
    }

    /// When something was killed or ended itself: from the first signal to the last process's end.
    fn ends(&self) -> Vec<(u64, u64)> {
        let kills = self.story.kills.iter().map(|kill| (kill.from_ns, kill.to_ns));
        kills.chain(self.story.crashed.iter().map(|(_, ns)| (*ns, *ns))).collect()
    }

    /// The result must be that of the last attempt which began, as its fence says. A second answer of that same attempt counts only if the
    /// first was lost with a daemon: the attempt held its claim, and only it can tell one answer of its own from another.
    fn stale(&self, task: &Acknowledged, told: &Told) -> Option<String> {
        let say = |why: &str| Some(format!("{} (n={}): {why}: {}", task.id, task.n, told.result));
        let Ok(answer) = serde_json::from_value::<Answer>(told.result.clone()) else {
            return say("no worker's answer");
        };
        let Some(last) = self.of(task.n).last() else { return say("no attempt is known") };
        if answer.n != task.n {
            return say("another task's answer");
        }
        if token_of(&answer.token).ok() != Some(last.token) || answer.pid != last.pid {
            return say(&format!("the last attempt was {:?} of pid {}", last.token, last.pid));
        }
        let Some(end) = last.end_ns else { return say("its attempt never ended") };
        let lost =
            |(from, to): &(u64, u64)| *to >= end && from.saturating_sub(end) <= self.flight();
        let twice = answer.zombie && !self.ends().iter().any(lost);
        twice.then(|| say("the first answer was there")).flatten()
    }

    /// Second attempts: how many, which no kill explains, and which came after a completion was seen.
    fn doubles(&self) -> (usize, Vec<String>, Vec<String>) {
        let (mut count, mut wrong, mut again) = (0, Vec::new(), Vec::new());
        let ends = self.ends();
        for (n, attempts) in &self.attempts {
            for pair in attempts.windows(2) {
                count += 1;
                if !self.explained(&ends, &pair[0], &pair[1]) {
                    wrong.push(format!(
                        "task {n}: {:?}, then {:?}; {}",
                        pair[0],
                        pair[1],
                        self.around(&pair[0])
                    ));
                }
            }
        }
        for task in &self.story.known.acknowledged {
            if let Some(seen) = self.story.known.seen.get(&task.id)
                && let Some(later) = self.ran_after(task.n, seen.at_ns)
                && !self.may_be_forgotten(seen.at_ns)
            {
                again.push(format!(
                    "task {}: seen completed at {}, then {later:?}",
                    task.n, seen.at_ns
                ));
            }
        }
        (count, wrong, again)
    }

    /// True if the first attempt was in flight at a kill before the second: it had started, or its daemon was dead already and it lay
    /// in a worker's buffer; and its outcome can't have been committed before.
    fn explained(&self, ends: &[(u64, u64)], first: &Attempt, second: &Attempt) -> bool {
        ends.iter().any(|(from, to)| {
            let met = *to >= first.start_ns || self.orphan(*to, first, second);
            let uncommitted = first.end_ns.is_none_or(|end| end + self.flight() >= *from);
            met && *from <= second.start_ns && uncommitted
        })
    }

    /// True if the first attempt lay in a worker's buffer when its daemon, or one that had taken it over, died at `died`: nobody was at
    /// work between that death and its start. Or the next daemon ended the process over it, as it does with raw and stdio workers,
    /// whose answers it can't know; other workers are at work for that daemon by then.
    fn orphan(&self, died: u64, first: &Attempt, second: &Attempt) -> bool {
        let nobody = || !self.takeovers.values().any(|ns| (died..first.start_ns).contains(ns));
        first.token.0 < second.token.0
            && (died..died + nanos(ORPHAN)).contains(&first.start_ns)
            && (first.end_ns.is_none() || nobody())
    }

    /// What was killed in the seconds before and after an attempt began, and who had taken over when; in milliseconds from its start.
    fn around(&self, attempt: &Attempt) -> String {
        const NEAR_MS: i64 = 3_000;
        let from = |ns: u64| (ns.cast_signed() - attempt.start_ns.cast_signed()) / 1_000_000;
        let near = |ns: &u64| from(*ns).abs() < NEAR_MS;
        let kills = self.story.kills.iter().filter(|kill| near(&kill.from_ns));
        let crashes = self.story.crashed.iter().filter(|(_, ns)| near(ns));
        let takeovers = self.takeovers.iter().filter(|(_, ns)| near(ns));
        kills
            .map(|k| format!("{:?} from {} to {}", k.kind, from(k.from_ns), from(k.to_ns)))
            .chain(crashes.map(|(place, ns)| format!("ended itself at {place} {}", from(*ns))))
            .chain(takeovers.map(|(epoch, ns)| format!("epoch {epoch} at work at {}", from(*ns))))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// How long after its end an attempt may be uncommitted.
    fn flight(&self) -> u64 {
        nanos(self.story.may_forget.map_or(UNCOMMITTED, |window| UNCOMMITTED + window))
    }

    fn ran_after(&self, n: u64, ns: u64) -> Option<Attempt> {
        self.of(n).iter().find(|attempt| attempt.start_ns > ns).copied()
    }

    /// What the guards saw, and attempts that began before the one before had ended.
    fn overlaps(&self, notes: &[Note]) -> Vec<String> {
        let guarded = notes.iter().filter(|note| note.what == 'O');
        let mut found: Vec<String> =
            guarded.map(|note| format!("task {}: seen by its guard: {note:?}", note.n)).collect();
        for (n, attempts) in &self.attempts {
            for pair in attempts.windows(2) {
                if pair[0].end_ns.is_some_and(|end| end > pair[1].start_ns) {
                    found.push(format!("task {n}: {:?} and {:?}", pair[0], pair[1]));
                }
            }
        }
        found
    }

    /// A later attempt has a greater fence, and no fence is given twice.
    fn fences(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut wrong = Vec::new();
        for (n, attempts) in &self.attempts {
            for pair in attempts.windows(2) {
                if pair[0].token >= pair[1].token {
                    wrong.push(format!("task {n}: {:?} then {:?}", pair[0].token, pair[1].token));
                }
            }
            for attempt in attempts {
                if !seen.insert(attempt.token) {
                    wrong.push(format!("task {n}: fence {:?} was given before", attempt.token));
                }
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::queue::client::Knowledge;
    use crate::torture::queue::killer::{Kill, Kind};

    const S: u64 = 1_000_000_000;

    /// A story with one kill.
    fn story(from_ns: u64, to_ns: u64) -> Story {
        Story {
            kills: vec![Kill { kind: Kind::Daemon, from_ns, to_ns, running: 1 }],
            crashed: Vec::new(),
            known: Knowledge::default(),
            may_forget: None,
        }
    }

    /// One kill from 10 s to 11 s, and what workers wrote.
    fn doubles(lines: &[&str]) -> (usize, usize) {
        let story = story(10 * S, 11 * S);
        let notes: Vec<Note> = lines.iter().map(|line| notes::parse(line).unwrap()).collect();
        let (count, wrong, _) = Case::new(&story, &notes).doubles();
        (count, wrong.len())
    }

    #[test]
    fn an_attempt_that_a_kill_met_may_run_again() {
        let met = ["S 1 1 1.1 7 9900000000", "S 1 2 2.1 8 12000000000", "E 1 2 2.1 8 12100000000"];
        assert_eq!(doubles(&met), (1, 0));
        let ended_long_before = ["S 1 1 1.1 7 5000000000", "E 1 1 1.1 7 6000000000", met[1]];
        assert_eq!(doubles(&ended_long_before), (1, 1));
        let no_kill_between = ["S 1 1 1.1 7 12000000000", "S 1 2 1.2 8 13000000000"];
        assert_eq!(doubles(&no_kill_between), (1, 1));
    }

    #[test]
    fn what_a_dead_daemon_had_sent_may_run_again_until_another_is_there() {
        let buffered = ["S 1 1 1.1 7 11500000000", "S 1 2 2.1 8 12000000000"];
        assert_eq!(doubles(&buffered), (1, 0));
        let taken_over = ["S 2 1 2.7 9 11400000000", buffered[0], buffered[1]];
        assert_eq!(doubles(&taken_over), (1, 0), "the next daemon ended its process");
        let ended = [taken_over[0], taken_over[1], "E 1 1 1.1 7 11600000000", taken_over[2]];
        assert_eq!(doubles(&ended), (1, 1), "it could have been heard");
        let adopted = [
            "S 2 1 2.7 9 9500000000",
            buffered[0],
            "E 1 1 1.1 7 11600000000",
            "S 1 2 3.1 8 12000000000",
        ];
        assert_eq!(doubles(&adopted), (1, 0), "the daemon that had taken it over was dead");
    }

    #[test]
    fn a_second_answer_counts_only_where_the_first_was_lost() {
        let story = story(10 * S, 11 * S);
        let stale = |end: u64, token: &str| {
            let lines = [format!("S 1 1 1.1 7 {}", end - 1), format!("E 1 1 1.1 7 {end}")];
            let notes: Vec<Note> = lines.iter().map(|line| notes::parse(line).unwrap()).collect();
            let task = Acknowledged { id: "t".into(), n: 1, at_ns: 1 };
            let result = serde_json::json!({"n": 1, "token": token, "pid": 7, "zombie": true});
            let told = Told { state: "completed".into(), result };
            Case::new(&story, &notes).stale(&task, &told).is_some()
        };
        assert!(!stale(10 * S - 1, "1.1"), "its daemon died over the first");
        assert!(stale(5 * S, "1.1"), "the first was there long before");
        assert!(stale(12 * S, "1.1"), "no kill since");
        assert!(stale(10 * S - 1, "1.0"), "an earlier attempt's");
    }

    #[test]
    fn overlaps_and_fences_are_seen() {
        let story = story(1, 2);
        let lines = ["S 1 1 1.5 7 10", "S 1 2 1.4 8 15", "O 1 2 1.4 8 15", "E 1 1 1.5 7 20"];
        let notes: Vec<Note> = lines.iter().map(|line| notes::parse(line).unwrap()).collect();
        let case = Case::new(&story, &notes);
        assert_eq!((case.overlaps(&notes).len(), case.fences().len()), (2, 1));
    }
}
