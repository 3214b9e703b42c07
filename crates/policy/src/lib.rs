//! Who may run which program with which arguments: policies as data, one pure decision, and what exactly would be launched.
//!
//! ```text
//! [policy.*] ─ Policy ─ Policies::new (checks, examples) ─ pin (Identify) ─┐
//! argv or JSON ─ Request ─ Principal (of the connection) ──────────────────┴ decide ─ Allowed { rule, Launch } | Denied { rule, reason }
//! ```
//!
//! Nothing here starts a process, and nothing opens a file but [`Disk`], which looks at program files for whoever has no
//! better [`Identify`]. There is no shell: a request is a vector of arguments. What is allowed is written down, everything
//! else is denied, and deny rules win. A [`Launch`] is made from the typed values that were decided on; a launcher takes
//! nothing from the request again.

mod argv;
pub mod catalog;
mod check;
mod decide;
mod decision;
mod disk;
mod environment;
mod examples;
mod identity;
mod index;
mod input;
mod json;
mod lint;
mod model;
mod path;
mod set;
mod told;
mod value;
mod veil;

pub use catalog::Class;
pub use decision::{Allowed, Argument, Code, Decision, Denied, Feed, HIDDEN, Launch, Open};
pub use disk::Disk;
pub use identity::{Identify, Identity, Pinned, Pins, Shebang, Stamp, Untrusted, pin};
pub use input::{
    ARG_BYTES_MAX, ARGS_MAX, ARGV_BYTES_MAX, ENV_MAX, Input, Principal, Probe, ProbeKind, Request,
    Target, id, is_reserved,
};
pub use json::{BadRequest, REQUEST_BYTES_MAX, request, request_under};
pub use lint::{Finding, Level, lint};
pub use model::{
    Access, Cwd, Deny, EnvRules, Examples, Form, Kind, Layers, Limits, Operand, Opt, Order, Policy,
    Profile, Rule, Stdin, Total, Who,
};
pub use path::{Beneath, NoPath, beneath, is_plain, plain};
pub use set::{Fault, Policies};
