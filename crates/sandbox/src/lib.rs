//! What a child may do: limits and identity resolved into layers, applied in the child, and what was enforced.
//!
//! A [`Profile`] is what a plan asks for. The machine may lack something: then the [`Report`] names what is missing, why,
//! and the way out. Nothing is ever passed over silently.

pub mod cgroup;
pub mod closure;
pub mod landlock;
mod layers;
mod profile;
mod report;
pub mod seccomp;
pub mod walls;

pub use layers::{Layers, ResolveError, resolve};
pub use profile::{Identity, Limits, Need, Profile};
pub use report::{Degraded, Layer, Report};
pub use walls::{Access, Identified, Mode, Net, ProfileName, Sandbox, Shown, Wall};
