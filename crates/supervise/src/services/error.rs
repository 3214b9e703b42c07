//! Why a request about services can't be done.

/// A request that was not done; nothing was changed by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// There is no such service.
    #[error("there is no service `{name}`; known: {}", known_text(.known))]
    Unknown {
        /// As asked.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// The service has no such slot.
    #[error(
        "service `{name}` has slots 1 to {replicas}, not {slot}; `ganger scale {name}=N` changes that"
    )]
    NoSlot {
        /// The service.
        name: String,
        /// As asked.
        slot: u32,
        /// How many there are.
        replicas: u32,
    },
    /// `depends_on` names nothing.
    #[error("service `{name}` depends on `{on}`, which does not exist")]
    UnknownDependency {
        /// The service.
        name: String,
        /// What it names.
        on: String,
    },
    /// `depends_on` comes back to itself.
    #[error("services wait for each other in a circle: {}", .path.join(" → "))]
    Circle {
        /// The circle, its first name again at the end.
        path: Vec<String>,
    },
    /// A running service can't move to an address; it stays where it is.
    #[error("service `{name}` {why}")]
    Listen {
        /// The service.
        name: String,
        /// What is in the way, and what to do.
        why: String,
    },
    /// It would meddle with a reload.
    #[error("service `{name}` is being reloaded; wait for its end, or `ganger stop {name}`")]
    Reloads {
        /// The service.
        name: String,
    },
    /// Everything is being brought down.
    #[error("ganger is going down; start it again with `ganger up`")]
    GoingDown,
    /// The owner task is gone.
    #[error("services are no longer supervised by this daemon; ask again in a moment")]
    Gone,
}

fn known_text(known: &[String]) -> String {
    if known.is_empty() { "none".into() } else { known.join(", ") }
}
