//! The detectors of everything that runs. Pure: looks go in, changes come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ganger_core::{End, Event};
use ganger_detect::{Change, Mark, Metric, Progress, Sample, Siblings, Watch};
use ganger_monitor::Tick;
use ganger_sampler::Tree;
use serde::{Deserialize, Serialize};

use super::board::{Board, Told};
use crate::alerts::Findings;
use crate::desired::Desired;

/// Objects with detectors: some 30 KiB each.
const OBJECTS_MAX: usize = 4_096;
/// Closed anomalies that are remembered.
pub(super) const CLOSED_MAX: usize = 500;
/// A member that works less than this is idle, and not compared by its processor time.
const WORKS: f64 = 0.01;
/// Objects that are not there any more are remembered for an hour: what is restarted is the same.
const AWAY_MS: u64 = 3_600_000;

/// Everything that was seen at one time.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) tick: Arc<Tick>,
    pub(super) desired: Arc<Desired>,
    /// Of pools, where it was looked at.
    pub(super) progress: Vec<(String, Progress)>,
    /// Siblings are compared too.
    pub(super) step: bool,
    pub(super) happened: Vec<Happened>,
}

/// Something that detectors should know.
#[derive(Debug)]
pub(super) struct Happened {
    at_ms: u64,
    name: String,
    /// None: all of them.
    slot: Option<u32>,
    what: What,
}

#[derive(Debug)]
enum What {
    Mark(Mark),
    End { ran_ms: u64, end: End },
}

impl Happened {
    pub(super) fn mark(event: &Event, slot: Option<u32>, mark: Mark) -> Self {
        Self { at_ms: event.ts_ms, name: event.name.clone(), slot, what: What::Mark(mark) }
    }

    pub(super) fn end(event: &Event, slot: u32, (at_ms, ran_ms): (u64, u64), end: End) -> Self {
        let what = What::End { ran_ms, end };
        Self { at_ms, name: event.name.clone(), slot: Some(slot), what }
    }
}

/// One object's detectors, and what they need of the look before.
#[derive(Debug, Serialize, Deserialize)]
struct Object {
    watch: Watch,
    /// Bytes read and written so far, and when.
    io: Option<(u64, u64)>,
    throttled_us: Option<u64>,
    /// Processor time so far at the last step, and when.
    cpu: Option<(u64, u64)>,
    seen_ms: u64,
}

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Crew {
    /// By name and slot; slot 0 is a pool as a whole.
    #[serde(with = "super::store::pairs")]
    objects: BTreeMap<(String, u32), Object>,
    siblings: BTreeMap<String, Siblings>,
    closed: VecDeque<Told>,
    #[serde(skip)]
    changed: bool,
}

type Changes = Vec<(String, u32, Change)>;

impl Crew {
    /// One look.
    pub(super) fn look(&mut self, look: &Look) -> Changes {
        let now_ms = look.tick.at_ms;
        let (before, mut changes) = (self.objects.len(), Vec::new());
        for happened in &look.happened {
            self.happened(happened, &mut changes);
        }
        for tree in &look.tick.trees {
            let sample = self.sample(tree, look);
            self.add((tree.name.to_string(), tree.slot), &sample, &mut changes);
        }
        for (pool, progress) in &look.progress {
            let mine = look.tick.trees.iter().filter(|tree| *tree.name == **pool);
            let seconds = look.tick.passed.as_secs_f64().max(1e-3);
            let cpu: f64 = mine.map(|tree| tree.cpu_delta_ns as f64 / 1e9 / seconds).sum();
            let sample = Sample {
                at_ms: now_ms,
                progress: Some(*progress),
                cpu: Some(cpu),
                ..Sample::default()
            };
            // Its processor time is that of its workers, which have detectors of their own: only progress is judged.
            self.add((pool.clone(), 0), &sample, &mut changes);
        }
        if look.step {
            self.compare(look, &mut changes);
            let away = |object: &Object| now_ms.saturating_sub(object.seen_ms) < AWAY_MS;
            let desired = &look.desired;
            self.objects.retain(|(name, _), object| away(object) && desired.knows(name));
            self.siblings.retain(|name, _| desired.knows(name));
        }
        self.changed |= !changes.is_empty() || before != self.objects.len();
        for (name, slot, change) in &changes {
            if let Change::Closed(incident) = change {
                if self.closed.len() == CLOSED_MAX {
                    self.closed.pop_front();
                }
                self.closed.push_back(Told::of(name, *slot, incident));
            }
        }
        changes
    }

    fn happened(&mut self, happened: &Happened, changes: &mut Changes) {
        let Happened { at_ms, name, slot, what } = happened;
        match (what, slot) {
            (What::Mark(mark), slot) => {
                let mine = |key: &(String, u32)| key.0 == *name && slot.is_none_or(|s| s == key.1);
                let mine = self.objects.iter_mut().filter(|(key, _)| mine(key));
                mine.for_each(|(_, object)| object.watch.mark(*at_ms, *mark));
            }
            (What::End { ran_ms, end }, Some(slot)) => {
                let key = (name.clone(), *slot);
                if let Some(object) = self.object(&key, *at_ms) {
                    let found = object.watch.end(*at_ms, *ran_ms, end);
                    changes.extend(found.into_iter().map(|change| (name.clone(), *slot, change)));
                }
            }
            (What::End { .. }, None) => {}
        }
    }

    /// Its detectors, made when it is new; `None`: there are too many.
    fn object(&mut self, key: &(String, u32), now_ms: u64) -> Option<&mut Object> {
        if !self.objects.contains_key(key) {
            if self.objects.len() >= OBJECTS_MAX {
                return None;
            }
            let name = if key.1 == 0 { key.0.clone() } else { format!("{}#{}", key.0, key.1) };
            let watch = Watch::new(&name, 0);
            let object = Object { watch, io: None, throttled_us: None, cpu: None, seen_ms: now_ms };
            self.objects.insert(key.clone(), object);
        }
        self.objects.get_mut(key)
    }

    fn add(&mut self, key: (String, u32), sample: &Sample, changes: &mut Changes) {
        let Some(object) = self.object(&key, sample.at_ms) else { return };
        object.seen_ms = sample.at_ms;
        let found = object.watch.sample(sample);
        changes.extend(found.into_iter().map(|change| (key.0.clone(), key.1, change)));
    }

    fn sample(&mut self, tree: &Tree, look: &Look) -> Sample {
        let (tick, key) = (&look.tick, (tree.name.to_string(), tree.slot));
        let seconds = tick.passed.as_secs_f64().max(1e-3);
        let config = &look.desired.config;
        let limits = config.services.get(&*tree.name).map(|one| one.program.limits);
        let limits = limits.or_else(|| config.pools.get(&*tree.name).map(|one| one.program.limits));
        let limits = limits.unwrap_or_default();
        let bytes = tree.total.read_bytes.saturating_add(tree.total.write_bytes);
        let throttled_us = tree.group.as_ref().and_then(|group| group.throttled_us);
        let (mut io, mut throttled) = (None, None);
        if let Some(object) = self.object(&key, tick.at_ms) {
            let passed = |at: u64| tick.at_ms.saturating_sub(at) as f64 / 1e3;
            io = object
                .io
                .filter(|(_, at)| passed(*at) > 0.0)
                .map(|(before, at)| bytes.saturating_sub(before) as f64 / passed(at));
            object.io = Some((bytes, tick.at_ms));
            throttled = throttled_us
                .zip(object.throttled_us)
                .map(|(now, before)| now.saturating_sub(before) as f64 / 1e6 / seconds);
            object.throttled_us = throttled_us;
        }
        let machine = Some(tick.host.memory.total as f64).filter(|bytes| *bytes > 0.0);
        Sample {
            at_ms: tick.at_ms,
            cpu: Some(tree.cpu_delta_ns as f64 / 1e9 / seconds),
            memory: Some(tree.resident as f64),
            memory_limit: limits.memory.map(|size| size.0 as f64).or(machine),
            fds: Some(tree.descriptors as f64),
            // The limit is each process's own: told by how full the fullest is.
            fds_limit: (tree.descriptor_ratio > 0.0)
                .then(|| tree.descriptors as f64 / tree.descriptor_ratio),
            threads: Some(tree.threads as f64),
            threads_limit: limits.pids.map(|pids| pids as f64),
            io,
            throttled: throttled.map(|share: f64| share.min(1.0)),
            ..Sample::default()
        }
    }

    /// Instances of one name with each other, by what they used since the step before.
    fn compare(&mut self, look: &Look, changes: &mut Changes) {
        let now_ms = look.tick.at_ms;
        let mut cpus: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
        let mut memories: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
        for tree in &look.tick.trees {
            let name = format!("{}#{}", tree.name, tree.slot);
            memories.entry(&tree.name).or_default().push((name.clone(), tree.resident as f64));
            let key = (tree.name.to_string(), tree.slot);
            let Some(object) = self.objects.get_mut(&key) else { continue };
            let before = object.cpu.replace((tree.total.cpu_ns, now_ms));
            let Some((ns, at)) = before.filter(|(_, at)| *at < now_ms) else { continue };
            let used = tree.total.cpu_ns.saturating_sub(ns) as f64 / 1e6 / (now_ms - at) as f64;
            if used >= WORKS {
                cpus.entry(&tree.name).or_default().push((name, used));
            }
        }
        let names: BTreeSet<&str> = memories.keys().copied().collect();
        for name in names {
            let members = |all: &'_ BTreeMap<&str, Vec<(String, f64)>>| {
                all.get(name).cloned().unwrap_or_default()
            };
            let (cpu, memory) = (members(&cpus), members(&memories));
            if memory.len() < ganger_detect::POOL_MIN && !self.siblings.contains_key(name) {
                continue;
            }
            let cpu: Vec<(&str, f64)> = cpu.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            let memory: Vec<(&str, f64)> = memory.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            let siblings = self.siblings.entry(name.to_owned()).or_default();
            let found = siblings.sample(now_ms, &[(Metric::Cpu, &cpu), (Metric::Memory, &memory)]);
            for change in found {
                let slot = slot_of(&change.incident().finding.object);
                changes.push((name.to_owned(), slot, change));
            }
        }
    }

    /// What is open and what was, if anything changed since the last time.
    pub(super) fn news(&mut self) -> Option<(Board, Findings)> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut findings = Findings::default();
        let mut open = Vec::new();
        for ((name, slot), object) in &self.objects {
            let scores = findings.scores.entry((name.clone(), *slot)).or_default();
            for incident in object.watch.desk().open() {
                let score = scores.entry(incident.finding.detector.word()).or_default();
                *score = score.max(incident.finding.score);
                open.push(Told::of(name, *slot, incident));
            }
        }
        for (name, siblings) in &self.siblings {
            for incident in siblings.desk().open() {
                let slot = slot_of(&incident.finding.object);
                let scores = findings.scores.entry((name.clone(), slot)).or_default();
                scores.insert(incident.finding.detector.word(), incident.finding.score);
                open.push(Told::of(name, slot, incident));
            }
        }
        let closed = self.closed.iter().rev().cloned().collect();
        Some((Board { open, closed }, findings))
    }

    /// After it was read.
    pub(super) fn renewed(mut self) -> Self {
        self.changed = true;
        self
    }
}

/// `web#2` is slot 2.
fn slot_of(object: &str) -> u32 {
    object.rsplit_once('#').and_then(|(_, slot)| slot.parse().ok()).unwrap_or(0)
}
