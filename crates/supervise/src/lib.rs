//! Services and instances: restart, backoff, breaker, readiness, ordered start and stop.
//!
//! Owns the life of every long-running child: [`instance`] is one process place with its owner task and pure state
//! machine, [`services`] holds all services, their slots and their order. Pools use [`instance`] for their workers. It
//! never parses configuration, never stores anything and never talks HTTP: it gives out [`Snapshot`]s and [`Told`]
//! events, and its caller records them.

pub mod budget;
pub mod checks;
pub mod instance;
pub mod listeners;
mod live;
mod pass;
pub mod permit;
pub mod policy;
mod preload;
mod ready;
pub mod services;
pub mod spec;
#[cfg(test)]
mod testing;
mod view;
pub mod watch;

pub use budget::RESTARTS;
pub use checks::exec::Execs;
pub use instance::{InstanceHandle, InstanceNotice, Surroundings};
pub use listeners::Listeners;
pub use pass::{Connections, Primaries};
pub use permit::{Ask, Permits};
pub use policy::{Policy, Restart, StartLimit};

pub use services::{ServiceError, Services};
pub use spec::{
    Dependency, ExecCheck, GroupSpec, HttpCheck, InstanceSpec, Live, LiveBy, NodeCluster, Ready,
    ReadyBy, Reload, ServiceSpec, Stop, Until,
};
pub use view::{
    Doing, GroupView, InstanceView, ProbeKind, ProbeView, ReloadView, Reloads, Signs, SignsReader,
    SlotResume, Snapshot, Told,
};
