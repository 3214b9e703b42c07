//! What this crate's tests share: a fake keeper, what stands around instances, plans.

use std::time::Duration;

use ganger_core::{InstanceId, InstanceKind};
use ganger_keeper::wire::{ChannelPlan, Plan};
use ganger_logs::read::LogReader;
use ganger_process::{Inherited, Link, Notice, Processes};
use ganger_testkit::{Act, FakeKeeper};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::instance::Surroundings;
use crate::spec::InstanceSpec;
use crate::view::Told;

/// Longest wait of a test, in paused time: no test needs an hour.
const NEVER: Duration = Duration::from_secs(3_600);

/// A fake keeper and all that stands around instances.
pub(crate) struct Rig {
    pub(crate) keeper: FakeKeeper,
    pub(crate) around: Surroundings,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) dir: TempDir,
    _tasks: [JoinHandle<()>; 2],
}

impl Rig {
    pub(crate) fn new(script: impl FnMut(&Plan, u32) -> Act + Send + 'static) -> Self {
        let (keeper, link) = FakeKeeper::start(script);
        let link = Link::new(link.requests, link.events);
        let started = Processes::start(link, Inherited::nothing(), 1);
        let dir = tempfile::tempdir().unwrap();
        let (tell, told) = mpsc::channel(256);
        let (exchange, owner) = ganger_ipc::broker::start(1);
        let exchanging = tokio::spawn(owner);
        let around = Surroundings {
            processes: started.processes,
            told: tell,
            run_dir: dir.path().to_owned(),
            primaries: Default::default(),
            listeners: Default::default(),
            exchange,
            permits: crate::permit::Permits::default(),
            execs: crate::Execs::default(),
            logs: LogReader::new(dir.path().join("logs")),
        };
        let _tasks = [started.task, exchanging];
        Self { keeper, around, told, notices: started.notices, dir, _tasks }
    }

    /// The next event of a kind, others skipped.
    pub(crate) async fn event(&mut self, kind: &str) -> Told {
        within(async {
            loop {
                let told = self.told.recv().await.expect("somebody still tells");
                if told.event.kind == kind {
                    return told;
                }
            }
        })
        .await
    }
}

pub(crate) async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, wait).await.expect("it happens within an hour")
}

pub(crate) fn plan(name: &str, slot: u32) -> Plan {
    Plan {
        env: [("PATH", "/bin")].into_iter().collect(),
        ..Plan::new(
            InstanceId::new(name, slot),
            InstanceKind::Service,
            "/bin/sleep",
            vec!["sleep".into(), "1000".into()],
        )
    }
}

pub(crate) fn spec(name: &str) -> InstanceSpec {
    InstanceSpec::new(plan(name, 1))
}

pub(crate) fn with_channel(mut spec: InstanceSpec) -> InstanceSpec {
    spec.plan.channel = Some(ChannelPlan::default());
    spec
}
