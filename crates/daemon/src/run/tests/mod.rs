//! A daemon in this process: real store, real HTTP, real client; only the keeper is scripted.

mod alerts;
mod api;
mod resume;
mod schedules;
mod tasks;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ganger_api::{ApplyRequest, Client, WaitRequest};
use ganger_process::{Inherited, Link, Processes};
use ganger_testkit::{Act, FakeKeeper};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::full::{self, Ground};
use super::open;
use super::start::Ended;
use crate::app::About;

/// No wait of a test is this long unless something hangs.
const HANGS: Duration = Duration::from_secs(20);

/// A folder with a configuration and a state folder; daemons come and go on it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(folder.state_dir().join("run")).unwrap();
        folder.write(config);
        folder
    }

    fn state_dir(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("ganger.toml")
    }

    fn write(&self, config: &str) {
        std::fs::write(self.file(), config).unwrap();
    }

    /// What `up` sends.
    fn request(&self) -> ApplyRequest {
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let loaded = crate::config::load_with(&self.file(), &env).unwrap_or_else(|e| panic!("{e}"));
        let config = serde_json::value::to_raw_value(&loaded.config).unwrap();
        ApplyRequest { config, environment: env, update_environment: false, dry_run: false }
    }

    async fn daemon(&self) -> Daemon {
        self.daemon_with(|_, _| Act::runs()).await
    }

    async fn daemon_with(
        &self,
        script: impl FnMut(&ganger_keeper::wire::Plan, u32) -> Act + Send + 'static,
    ) -> Daemon {
        let opened = open::open(&self.state_dir()).unwrap_or_else(|e| panic!("{e}"));
        let (keeper, ground) = ground(&self.state_dir(), script, opened.writer.epoch());
        let task = tokio::spawn(full::serve(ground, opened));
        Daemon { keeper, task, client: Client::new(self.state_dir()) }
    }
}

/// A scripted keeper and what a daemon over it stands on.
fn ground(
    state_dir: &Path,
    script: impl FnMut(&ganger_keeper::wire::Plan, u32) -> Act + Send + 'static,
    epoch: u32,
) -> (FakeKeeper, Ground) {
    let (keeper, link) = FakeKeeper::start(script);
    let link = Link::new(link.requests, link.events);
    let startup = Processes::start(link, Inherited::nothing(), epoch);
    let socket = state_dir.join(ganger_api::SOCKET_NAME);
    // The socket of the daemon before, which in life is one and the same descriptor.
    drop(std::fs::remove_file(&socket));
    let ground = Ground {
        state_dir: state_dir.to_owned(),
        about: About { keeper_pid: 4711, ..About::default() },
        startup,
        kinds: HashMap::new(),
        listener: UnixListener::bind(socket).unwrap(),
        survivors: vec![],
    };
    (keeper, ground)
}

/// One daemon.
struct Daemon {
    keeper: FakeKeeper,
    task: JoinHandle<Result<Ended, super::DaemonError>>,
    client: Client,
}

impl Daemon {
    async fn ready(&self, name: &str) {
        let request = WaitRequest {
            conditions: vec![format!("service:{name}=ready").parse().unwrap()],
            timeout_s: Some(Duration::from_secs(10).into()),
        };
        self.client.wait(&request).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
    }

    /// `name#slot state` of every instance.
    async fn ps(&self) -> Vec<String> {
        let list = self.client.instances().await.unwrap().instances;
        list.iter().map(|i| format!("{}#{} {}", i.name, i.slot, i.state)).collect()
    }

    /// Its keeper is lost: it lets go of everything, as it does before a new keeper takes over.
    async fn lose(self) {
        self.keeper.lose().await;
        let ended = tokio::time::timeout(HANGS, self.task).await.unwrap().unwrap().unwrap();
        assert!(matches!(ended, Ended::KeeperLost(_)), "{ended:?}");
    }

    async fn ended(self) -> Ended {
        tokio::time::timeout(HANGS, self.task).await.unwrap().unwrap().unwrap()
    }
}
