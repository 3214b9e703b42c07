//! What one instance and one service are to be: fully resolved, nothing left to look up.

mod probes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Backoff, CauseBackoffs, GroupStrategy, InstanceId, InstanceKind, Priority};
use ganger_keeper::wire::{Output, Plan, Scope};
use serde::{Deserialize, Serialize};

use crate::listeners::{ListenMode, Listening};
use crate::pass::Handover;
use crate::policy::{Policy, Restart, StartLimit};
use crate::watch::Watch;

pub(crate) use probes::short;
pub use probes::{ExecCheck, HttpCheck, Live, LiveBy, Ready, ReadyBy};

/// How an instance is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The signal's number; 15 (SIGTERM) by default.
    pub signal: i32,
    /// Who gets it; the whole tree by default.
    pub scope: Scope,
    /// From the signal to the end by force.
    pub timeout: Duration,
    /// The message `"shutdown"` on its channel instead of the signal, as PM2's `shutdown_with_message`.
    pub message: bool,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: 15, scope: Scope::Tree, timeout: Duration::from_secs(10), message: false }
    }
}

/// One instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSpec {
    /// What the keeper starts. Its `instance` is the instance's id; its `blob` is filled in here.
    pub plan: Plan,
    /// Which ends lead to a new start.
    pub restart: Restart,
    /// The wait before it.
    pub backoff: Backoff,
    /// Other waits for some causes of failure.
    pub backoff_by: CauseBackoffs,
    /// Up this long counts as healthy again. Absent: the greater of 10 s and ten times the start-up time.
    pub healthy_after: Option<Duration>,
    /// Absent: no limit.
    pub start_limit: Option<StartLimit>,
    /// How it is asked to end.
    pub stop: Stop,
    /// Absent: a started program counts as ready.
    pub ready: Option<Ready>,
    /// What ends its start-up: readiness and liveness are asked for only after it. Absent: nothing to wait for.
    pub startup: Option<Ready>,
    /// Absent: it works as long as it runs.
    pub live: Option<Live>,
    /// Larger is restarted first where restarts are short.
    pub priority: Priority,
    /// What it listens on, on descriptors that the keeper holds.
    pub listen: Option<Arc<Listening>>,
    /// It is a worker of a Node cluster, whose primary is ganger.
    pub node_cluster: Option<NodeCluster>,
    /// Node's HTTP servers in it finish their connections between the stop signal and their end, by a script that is loaded
    /// before the program.
    pub node_drain: bool,
    /// A service that speaks with others over its channel, which its plan has.
    pub speaks: bool,
}

/// A program that uses Node's `cluster` module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeCluster {
    /// Its workers get the listening sockets and accept themselves.
    pub shared: bool,
    /// From `disconnect`, on which a worker finishes what it has and ends, to the stop signal.
    pub drain: Duration,
}

impl InstanceSpec {
    /// A spec with the defaults of services.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            restart: Restart::default(),
            backoff: Backoff::SERVICE,
            backoff_by: CauseBackoffs::default(),
            healthy_after: None,
            start_limit: Some(StartLimit::default()),
            stop: Stop::default(),
            ready: None,
            startup: None,
            live: None,
            priority: Priority::NORMAL,
            listen: None,
            node_cluster: None,
            node_drain: false,
            speaks: false,
        }
    }

    /// How it gets its connections over its channel, if it does.
    #[must_use]
    pub(crate) fn handover(&self) -> Option<Handover> {
        let passed = |listening: &Arc<Listening>| listening.mode == ListenMode::Pass;
        match self.node_cluster {
            Some(NodeCluster { shared, .. }) => Some(Handover::NodeCluster { shared }),
            None => self.listen.as_ref().is_some_and(passed).then_some(Handover::Sockets),
        }
    }

    /// The instance's id.
    #[must_use]
    pub const fn id(&self) -> &InstanceId {
        &self.plan.instance
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            restart: self.restart,
            backoff: self.backoff,
            backoff_by: self.backoff_by,
            healthy_after: self.healthy_after,
            start_limit: self.start_limit,
            stop_timeout: self.stop.timeout,
            drain: self.node_cluster.map(|cluster| cluster.drain),
            ready_timeout: self.ready.as_ref().map(|ready| ready.timeout),
            startup_timeout: self.startup.as_ref().map(|startup| startup.timeout),
        }
    }

    /// It speaks sd_notify(3) with us.
    pub(crate) fn notifies(&self) -> bool {
        let by = |ready: &Option<Ready>| ready.as_ref().is_some_and(|r| r.by == ReadyBy::Notify);
        by(&self.ready) || by(&self.startup) || self.watchdog().is_some()
    }

    /// The longest silence of a watchdog.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.live.as_ref().filter(|live| live.by == LiveBy::Watchdog).map(|live| live.every)
    }

    /// A service whose own channel is the exchange's, which tells of it.
    pub(crate) fn has_own_channel(&self) -> bool {
        let by = |ready: &Option<Ready>| ready.as_ref().is_some_and(|r| r.by == ReadyBy::Channel);
        let used = self.speaks || self.stop.message || by(&self.ready) || by(&self.startup);
        self.plan.kind == InstanceKind::Service && self.handover().is_none() && used
    }
}

/// What must be true of another service before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Every instance has been started.
    Started,
    /// Every instance is ready.
    #[default]
    Ready,
    /// Every instance ended with exit code 0.
    Completed,
}

/// One line of `depends_on`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The other service.
    pub name: String,
    /// What must be true of it.
    pub until: Until,
}

/// One group of services and groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupSpec {
    /// Its name.
    pub name: String,
    /// What the restart of one member means for the others.
    pub strategy: GroupStrategy,
    /// Services and groups, in the order in which they start again.
    pub members: Vec<String>,
    /// Members whose failure makes the group degraded and touches no other.
    pub optional: BTreeSet<String>,
}

/// How the instances of a service are replaced one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Instances of the new version beyond `replicas`, until it is over.
    pub surge: u32,
    /// How many of `replicas` may be out of service at once.
    pub unavailable: u32,
    /// How long the first new ones must stay ready before an old one goes.
    pub healthy_for: Duration,
    /// How long an old one may take to finish what it has before it is asked to end (listeners of mode `reuseport`).
    pub drain: Duration,
}

impl Default for Reload {
    fn default() -> Self {
        let (healthy_for, drain) = (Duration::from_secs(5), Duration::from_secs(10));
        Self { surge: 1, unavailable: 0, healthy_for, drain }
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// How many instances, in slots 1 to this.
    pub replicas: u32,
    /// What its first start waits for.
    pub depends_on: Vec<Dependency>,
    /// The instances. Slot and log targets are filled in per instance.
    pub instance: InstanceSpec,
    /// `PORT` of slot 1; each further slot has one more.
    pub port: Option<u16>,
    /// The variable that holds an instance's number, from 0.
    pub instance_var: Option<String>,
    /// Not to be started: a person stopped it.
    pub stopped: bool,
    /// It starts with the first connection to what it listens on.
    pub on_demand: bool,
    /// Its instances are replaced by a rolling reload. Absent: so too, by the default rules, where it listens.
    pub reload: Option<Reload>,
    /// Files with whose changes it is restarted, or reloaded where a changed spec would be.
    pub watch: Option<Arc<Watch>>,
}

impl ServiceSpec {
    /// A service of one instance.
    #[must_use]
    pub fn new(name: impl Into<String>, instance: InstanceSpec) -> Self {
        let (name, depends_on) = (name.into(), vec![]);
        Self {
            name,
            replicas: 1,
            depends_on,
            instance,
            port: None,
            instance_var: None,
            stopped: false,
            on_demand: false,
            reload: None,
            watch: None,
        }
    }

    /// A changed spec comes by a rolling reload, not by restarts.
    #[must_use]
    pub const fn rolls(&self) -> bool {
        self.reload.is_some() || self.serves()
    }

    /// Connections come to its instances by way of ganger.
    const fn serves(&self) -> bool {
        self.instance.listen.is_some() || self.instance.node_cluster.is_some()
    }

    /// How its instances are replaced. One that neither listens nor says anything may not be made for more instances than
    /// it has: one by one, in place.
    #[must_use]
    pub fn reload_rules(&self) -> Reload {
        self.reload.unwrap_or_else(|| match self.serves() {
            true => Reload::default(),
            false => Reload { surge: 0, unavailable: 1, ..Reload::default() },
        })
    }

    /// The spec of one slot.
    #[must_use]
    pub fn slot(&self, slot: u32) -> InstanceSpec {
        self.slot_on(slot, self.instance.listen.clone())
    }

    /// The spec of a slot on trial, where it gets no connections; `None` where it would get none anyhow.
    pub(crate) fn slot_apart(&self, slot: u32) -> Option<InstanceSpec> {
        let apart = self.instance.listen.as_ref()?.apart(slot)?;
        Some(self.slot_on(slot, Some(Arc::new(apart))))
    }

    fn slot_on(&self, slot: u32, listen: Option<Arc<Listening>>) -> InstanceSpec {
        let mut spec = InstanceSpec { listen, ..self.instance.clone() };
        let plan = &mut spec.plan;
        plan.instance = InstanceId::new(&self.name, slot);
        for output in [&mut plan.stdout, &mut plan.stderr] {
            if let Output::Log(target) = output {
                target.name.clone_from(&self.name);
                target.slot = slot;
            }
        }
        if let Some(listening) = &spec.listen {
            listening.put_into(plan, &self.name, slot);
        }
        if spec.node_cluster.is_some() {
            let number = slot.saturating_sub(1).to_string();
            // What PM2 gives to programs in its cluster mode.
            for (key, value) in [
                ("NODE_APP_INSTANCE", &*number),
                ("pm_id", &number),
                ("name", &self.name),
                ("exec_mode", "cluster_mode"),
            ] {
                plan.env.set(key, value);
            }
        }
        if let Some(base) = self.port {
            let port = u32::from(base).saturating_add(slot.saturating_sub(1));
            plan.env.set("PORT", port.to_string());
        }
        if let Some(name) = &self.instance_var {
            plan.env.set(name, slot.saturating_sub(1).to_string());
        }
        spec
    }
}
