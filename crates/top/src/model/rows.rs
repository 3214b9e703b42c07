//! The tree as lines: a service or pool, and below it its instances where it has several.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ganger_api::{Costs, Instance, InstanceCost};
use ganger_core::{InstanceKind, InstanceState};

/// What a line is about; stays the same while the data changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowId {
    /// A service or pool.
    Name(String),
    /// One of its instances.
    Slot(String, u32),
}

impl RowId {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Slot(name, _) => name,
        }
    }
}

/// As verbs and logs take it: `web`, `web#2`.
impl std::fmt::Display for RowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Slot(name, slot) => write!(f, "{name}#{slot}"),
        }
    }
}

/// By what lines are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    #[default]
    Name,
    State,
    Cpu,
    Memory,
    Restarts,
    Age,
}

impl Sort {
    pub(crate) const ALL: [Self; 6] =
        [Self::Name, Self::State, Self::Cpu, Self::Memory, Self::Restarts, Self::Age];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Restarts => "restarts",
            Self::Age => "age",
        }
    }

    /// The one after it.
    pub(crate) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// One line. Of several instances the figures are sums, and the state is the worst.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: RowId,
    pub(crate) kind: InstanceKind,
    pub(crate) state: InstanceState,
    pub(crate) ready: bool,
    /// How many instances it stands for, and how many of them are ready.
    pub(crate) slots: Vec<u32>,
    pub(crate) ready_count: usize,
    /// It has lines below it that are not shown.
    pub(crate) folded: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u64,
    /// Milliseconds since 1970; of several the youngest.
    pub(crate) started_ms: Option<u64>,
    pub(crate) cpu: Option<f64>,
    pub(crate) memory: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) fds: Option<u64>,
    /// Why it is as it is.
    pub(crate) reason: String,
}

/// How lines are chosen and ordered.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) sort: Sort,
    pub(crate) reversed: bool,
    /// In lower case.
    pub(crate) filter: String,
    pub(crate) folded: BTreeSet<String>,
}

/// All lines, from the top.
pub(crate) fn rows(instances: &[Instance], costs: Option<&Costs>, choice: &Choice) -> Vec<Row> {
    let costs: HashMap<(&str, u32), &InstanceCost> = costs
        .map(|all| all.instances.iter().map(|one| ((&*one.name, one.slot), one)).collect())
        .unwrap_or_default();
    let mut names: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for instance in instances {
        names.entry(&instance.name).or_default().push(instance);
    }
    let mut groups: Vec<(Row, Vec<Row>)> = vec![];
    for (name, members) in names {
        let whole = choice.filter.is_empty() || name.to_lowercase().contains(&choice.filter);
        let of = |one: &&Instance| of_instance(one, costs.get(&(name, one.slot)).copied());
        let all: Vec<Row> = members.iter().map(of).collect();
        let mut shown: Vec<Row> =
            all.iter().filter(|row| whole || fits(row, &choice.filter)).cloned().collect();
        if shown.is_empty() {
            continue;
        }
        let mut head = sum(name, &all);
        shown.sort_by(|a, b| choice.order(a, b));
        // One instance is its service.
        if all.len() == 1 {
            shown.clear();
        } else if choice.folded.contains(name) {
            head.folded = true;
            shown.clear();
        }
        groups.push((head, shown));
    }
    groups.sort_by(|(a, _), (b, _)| choice.order(a, b));
    groups.into_iter().flat_map(|(head, below)| std::iter::once(head).chain(below)).collect()
}

impl Choice {
    fn order(&self, a: &Row, b: &Row) -> Ordering {
        let by = match self.sort {
            Sort::Name => (a.kind as u8).cmp(&(b.kind as u8)),
            Sort::State => urgency(a).cmp(&urgency(b)),
            // The most first.
            Sort::Cpu => b.cpu.unwrap_or(-1.0).total_cmp(&a.cpu.unwrap_or(-1.0)),
            Sort::Memory => b.memory.cmp(&a.memory),
            Sort::Restarts => b.restarts.cmp(&a.restarts),
            Sort::Age => b.started_ms.cmp(&a.started_ms),
        };
        let by = by.then_with(|| a.id.cmp(&b.id));
        if self.reversed { by.reverse() } else { by }
    }
}

/// What needs somebody's eye comes first.
fn urgency(row: &Row) -> (u8, bool) {
    let rank = match row.state {
        InstanceState::Failed => 0,
        InstanceState::Backoff => 1,
        InstanceState::Starting | InstanceState::Stopping => 2,
        InstanceState::Running => 3,
        InstanceState::Stopped => 4,
    };
    (rank, row.ready)
}

fn fits(row: &Row, filter: &str) -> bool {
    let text = format!("{} {} {}", row.id, row.state, row.reason);
    text.to_lowercase().contains(filter)
}

fn of_instance(one: &Instance, cost: Option<&InstanceCost>) -> Row {
    let reason = match &one.status {
        Some(status) if one.reason.is_empty() => status.clone(),
        _ => one.reason.clone(),
    };
    let probes = one.probes.iter().filter(|probe| probe.ok == Some(false));
    let probes = probes.map(|probe| format!("{} by {}: {}", probe.kind, probe.what, probe.said));
    let next = one.next_try_s.map(|next| format!("next try in {:.0}s", next.0));
    let parts = std::iter::once(reason).chain(probes).chain(next).filter(|part| !part.is_empty());
    Row {
        id: RowId::Slot(one.name.clone(), one.slot),
        kind: one.kind,
        state: one.state,
        ready: one.ready,
        slots: vec![one.slot],
        ready_count: usize::from(one.ready),
        folded: false,
        pid: one.pid,
        restarts: one.restarts,
        started_ms: one.started_at.filter(|_| one.pid.is_some()).map(|at| at.0),
        cpu: cost.map(|cost| cost.cpu_percent),
        memory: cost.map(|cost| cost.memory_bytes),
        threads: cost.map(|cost| cost.threads),
        fds: cost.map(|cost| cost.fds),
        reason: parts.collect::<Vec<_>>().join("; "),
    }
}

fn sum(name: &str, all: &[Row]) -> Row {
    let worst = all.iter().min_by_key(|row| urgency(row));
    let add = |of: fn(&Row) -> Option<u64>| {
        all.iter().filter_map(of).fold(None, |sum: Option<u64>, n| Some(sum.unwrap_or(0) + n))
    };
    let cpu = all.iter().filter_map(|row| row.cpu);
    Row {
        id: RowId::Name(name.to_owned()),
        kind: worst.map_or(InstanceKind::Service, |row| row.kind),
        state: worst.map_or(InstanceState::Stopped, |row| row.state),
        ready: all.iter().all(|row| row.ready),
        slots: all.iter().map(|row| row.slots[0]).collect(),
        ready_count: all.iter().filter(|row| row.ready).count(),
        folded: false,
        pid: all.first().filter(|_| all.len() == 1).and_then(|row| row.pid),
        restarts: all.iter().map(|row| row.restarts).sum(),
        started_ms: all.iter().filter_map(|row| row.started_ms).max(),
        cpu: cpu.fold(None, |sum: Option<f64>, n| Some(sum.unwrap_or(0.0) + n)),
        memory: add(|row| row.memory),
        threads: add(|row| row.threads),
        fds: add(|row| row.fds),
        reason: match (worst, all.len()) {
            (Some(worst), 1) => worst.reason.clone(),
            (Some(worst), _) if !worst.reason.is_empty() => {
                format!("{}: {}", worst.id, worst.reason)
            }
            _ => String::new(),
        },
    }
}
