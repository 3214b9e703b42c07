//! The desired state: what was applied and asked for, as rows of the store. A restarted daemon resumes from it, never
//! from the edited file.
//!
//! | key | value |
//! | --- | --- |
//! | `config` | the applied [`Config`] as JSON |
//! | `environments` | what each service and pool inherits ([`Environments`]) |
//! | `stopped/NAME` | a person stopped this service or pool |
//! | `scale/NAME` | its number of instances, where a person changed it |
//! | `down` | a person said `down`: nothing is started until the next `up` |
//! | `earlier/NAME` | the version of a service that a reload comes from, or has gone back to ([`Earlier`]) |
//! | `slot/NAME#N` | what supervision needs to go on with a resting instance ([`SlotResume`]) |

mod earlier;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ganger_store::{Op, StoreError};
use ganger_supervise::SlotResume;

use crate::config::{Config, SourceFile};
use crate::environments::Environments;

pub(crate) use earlier::{Earlier, TakenBack};

const CONFIG: &str = "config";
const ENVIRONMENTS: &str = "environments";
const STOPPED: &str = "stopped/";
const SCALE: &str = "scale/";
const EARLIER: &str = "earlier/";
const SLOT: &str = "slot/";
const DOWN: &str = "down";

/// Everything desired, in memory; the store has the same.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Desired {
    /// Shared: with a thousand services it is over a megabyte.
    pub(crate) config: Arc<Config>,
    pub(crate) environments: Environments,
    pub(crate) stopped: BTreeSet<String>,
    pub(crate) scale: BTreeMap<String, u32>,
    /// By service: what ran before what is configured.
    pub(crate) earlier: BTreeMap<String, Earlier>,
    /// A person said `down`: nothing is to run until somebody applies a configuration.
    pub(crate) down: bool,
}

/// What is stored can't be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DesiredError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row of another shape.
    #[error(
        "the stored desired state `{key}` can't be understood ({source}): run `ganger up` to apply the configuration anew"
    )]
    Row {
        /// Its key.
        key: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Default for Desired {
    fn default() -> Self {
        let config = Config {
            version: 1,
            sources: Vec::new(),
            services: BTreeMap::new(),
            queues: BTreeMap::new(),
            pools: BTreeMap::new(),
            schedules: BTreeMap::new(),
            groups: BTreeMap::new(),
            policies: BTreeMap::new(),
            audit: crate::config::Audit::default(),
            incident: ganger_incident::Settings::default(),
            alerting: crate::config::Alerting::default(),
            server: crate::config::Server::default(),
            supervision: crate::config::Supervision::default(),
        };
        Self {
            config: Arc::new(config),
            environments: Environments::default(),
            stopped: BTreeSet::new(),
            scale: BTreeMap::new(),
            earlier: BTreeMap::new(),
            down: false,
        }
    }
}

impl Desired {
    /// From the rows of the store, with the resting instances.
    pub(crate) fn from_rows(
        rows: Vec<(String, Vec<u8>)>,
    ) -> Result<(Self, Vec<SlotResume>), DesiredError> {
        let mut desired = Self::default();
        let mut slots = Vec::new();
        for (key, value) in rows {
            let fail = |source| DesiredError::Row { key: key.clone(), source };
            if key == CONFIG {
                desired.config = Arc::new(serde_json::from_slice(&value).map_err(fail)?);
            } else if key == ENVIRONMENTS {
                desired.environments = serde_json::from_slice(&value).map_err(fail)?;
            } else if key == DOWN {
                desired.down = true;
            } else if let Some(name) = key.strip_prefix(STOPPED) {
                desired.stopped.insert(name.to_owned());
            } else if let Some(name) = key.strip_prefix(SCALE) {
                let replicas = serde_json::from_slice(&value).map_err(fail)?;
                desired.scale.insert(name.to_owned(), replicas);
            } else if let Some(name) = key.strip_prefix(EARLIER) {
                let earlier = serde_json::from_slice(&value).map_err(fail)?;
                desired.earlier.insert(name.to_owned(), earlier);
            } else if key.starts_with(SLOT) {
                slots.push(serde_json::from_slice(&value).map_err(fail)?);
            }
        }
        Ok((desired, slots))
    }

    /// How many instances of a service or workers of a pool are wanted.
    pub(crate) fn replicas(&self, name: &str) -> Option<u32> {
        let configured = || {
            let service = self.service(name).map(|service| service.replicas);
            service.or_else(|| self.config.pools.get(name).map(|pool| pool.workers.min))
        };
        let configured = configured()?;
        Some(self.scale.get(name).copied().unwrap_or(configured))
    }

    /// The most slots that it may have now.
    pub(crate) fn slots(&self, name: &str) -> Option<u32> {
        let pool = self.config.pools.get(name).filter(|_| !self.scale.contains_key(name));
        pool.map(|pool| pool.workers.max).or_else(|| self.replicas(name))
    }

    /// True for the name of a service or pool.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.config.services.contains_key(name) || self.config.pools.contains_key(name)
    }

    /// Some file that the configuration was made from has changed since.
    pub(crate) fn differs(&self) -> bool {
        self.config.sources.iter().any(|source| !source.is_unchanged())
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> Option<&SourceFile> {
        self.config.sources.first()
    }
}

/// Rows for an applied configuration. What a person had scaled or stopped is as configured again.
pub(crate) fn applied(old: &Desired, new: &Desired) -> Vec<Op> {
    let mut ops = vec![
        set(CONFIG, json(&*new.config)),
        set(ENVIRONMENTS, json(&new.environments)),
        down(new.down),
    ];
    ops.extend(old.scale.keys().filter(|n| !new.scale.contains_key(*n)).map(|n| scale(n, None)));
    let started = old.stopped.iter().filter(|name| !new.stopped.contains(*name));
    ops.extend(started.map(|name| stopped(name, false)));
    ops.extend(earlier_ops(old, new));
    ops
}

/// Rows for what has changed about the versions before the configured ones.
pub(crate) fn earlier_ops(old: &Desired, new: &Desired) -> Vec<Op> {
    let key = |name: &String| format!("{EARLIER}{name}");
    let gone = old.earlier.keys().filter(|name| !new.earlier.contains_key(*name));
    let gone = gone.map(|name| remove(&key(name)));
    let changed = new.earlier.iter().filter(|(name, one)| old.earlier.get(*name) != Some(one));
    gone.chain(changed.map(|(name, one)| set(&key(name), json(one)))).collect()
}

/// The row for a `down`.
pub(crate) fn down(down: bool) -> Op {
    if down { set(DOWN, b"true".to_vec()) } else { remove(DOWN) }
}

/// The row for a stopped or started service.
pub(crate) fn stopped(name: &str, stopped: bool) -> Op {
    let key = format!("{STOPPED}{name}");
    if stopped { set(&key, b"true".to_vec()) } else { remove(&key) }
}

/// The row for a scaled service.
pub(crate) fn scale(name: &str, replicas: Option<u32>) -> Op {
    let key = format!("{SCALE}{name}");
    replicas.map_or_else(|| remove(&key), |replicas| set(&key, json(&replicas)))
}

/// The row for an instance that came to rest, or left it.
pub(crate) fn slot(resume: &SlotResume) -> Op {
    set(&format!("{SLOT}{}", resume.id), json(resume))
}

fn set(key: &str, value: Vec<u8>) -> Op {
    Op::Desire { key: key.to_owned(), value: Some(value) }
}

fn remove(key: &str) -> Op {
    Op::Desire { key: key.to_owned(), value: None }
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps with string keys and plain structs are always JSON")
}
