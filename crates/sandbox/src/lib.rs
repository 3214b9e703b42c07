//! What a child may do: limits and identity resolved into layers, applied in the child, and what was enforced.
//!
//! A [`Profile`] is what a plan asks for. The machine may lack something: then the [`Report`] names what is missing, why,
//! and the way out. Nothing is ever passed over silently.

pub mod cgroup;
pub mod closure;
mod held;
pub mod landlock;
mod layers;
mod profile;
mod report;
pub mod seccomp;
pub mod walls;

pub use held::{hold, rlimit_pids};
pub use layers::{Layers, ResolveError, resolve};
pub use profile::{Identity, Limits, Need, Profile};
pub use report::{Bound, Degraded, Held, Holder, Layer, Report};
pub use walls::{Access, Identified, Mode, Net, ProfileName, Sandbox, Shown, Wall};
