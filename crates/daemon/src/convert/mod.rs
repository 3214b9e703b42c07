//! From the resolved configuration to what supervision, pools and queues go by. Pure but for looking up programs and
//! users, which is done at every apply and at every start of a daemon.

mod audit;
mod identity;
mod plan;
mod pool;
mod probes;
mod queue;
mod schedule;
mod service;

pub(crate) use audit::audit_options;
pub(crate) use identity::{IdentityError, look_up_group, look_up_user};

pub(crate) use pool::pool_spec;
pub(crate) use queue::{dedupe, history, queue_config};
pub(crate) use schedule::schedule_config;
pub(crate) use service::service_spec;

/// A configuration that can't be made real on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}`: {why}")]
pub(crate) struct ConvertError {
    /// `service`, `pool` or `schedule`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    #[source]
    pub(crate) why: Why,
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Plan(#[from] ganger_queue::schedule::PlanError),
    #[error(transparent)]
    Template(#[from] ganger_pool::template::TemplateError),
    #[error("{asked} workers are more than {max}, the most a pool may have")]
    TooMany { asked: u32, max: u32 },
}
