//! A child with walls: they are built, put up, and when a layer that was only preferred is refused by the kernel, put up without it.

use std::path::{Path, PathBuf};

use ganger_sandbox::walls::{Blame, Built, Inmate, SandboxError, missing_by_wish};
use ganger_sandbox::{Layers, Report, Sandbox, Wall};
use ganger_sys::spawn::{Resource, Rlimit, Started};

use crate::launch::{Failure, Stop, With};
use crate::wire::Plan;

/// One start.
pub(crate) struct Asked<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) plan: &'a Plan,
    pub(crate) layers: &'a Layers,
    pub(crate) environment: &'a [String],
    /// See [`Inmate::roots`].
    pub(crate) roots: Option<PathBuf>,
    /// RLIMIT_NPROC, where the kernel counts for a user namespace alone and no cgroup does.
    pub(crate) processes: Option<u64>,
}

impl Asked<'_> {
    /// Tries until it runs or nothing can be left out; each try has a layer less, so there are at most as many as layers.
    pub(crate) fn start(
        &self,
        own: &[PathBuf],
        mut start: impl FnMut(With<'_>) -> Result<Started, Stop>,
    ) -> Result<(Started, Report), Failure> {
        let mut missing = missing_by_wish();
        loop {
            let inmate = Inmate {
                program: Path::new(&self.plan.program),
                cwd: Path::new(&self.plan.cwd),
                identity: self.plan.profile.identity.as_ref(),
                hide: own,
                roots: self.roots.as_deref(),
            };
            let built = self.sandbox.build(inmate, &missing).map_err(|error| refused(&error, 0))?;
            let environment = environment(self.environment, &built);
            let mut layers = self.layers.clone();
            layers.no_new_privs |= built.needs_no_new_privs();
            if !layers.rlimits.iter().any(|limit| limit.resource == Resource::Core) {
                // A core file is the memory of what was to be contained.
                layers.rlimits.push(Rlimit { resource: Resource::Core, soft: 0, hard: 0 });
            }
            let alone = built.standing.contains(&Wall::User);
            if let Some(most) = self.processes.filter(|_| alone) {
                let resource = Resource::Processes;
                layers.rlimits.push(Rlimit { resource, soft: most, hard: most });
            }
            let stop = match start((&layers, &environment, Some(&built.walls))) {
                Ok(started) => {
                    let (walls, degraded) = (built.standing, built.degraded);
                    return Ok((started, Report { walls, degraded, ..Report::default() }));
                }
                Err(stop) => stop,
            };
            let Stop::Spawn(error) = &stop else { return Err(stop.told(self.plan)) };
            match self.sandbox.blame(&built, error, &missing) {
                Blame::Other => return Err(stop.told(self.plan)),
                Blame::Refused(why) => return Err(refused(&why, error.errno)),
                Blame::Again(wall, why) => {
                    missing.insert(wall, why);
                }
            }
        }
    }
}

fn refused(error: &SandboxError, errno: i32) -> Failure {
    // Rules over the audit log tell a lost layer from a wrong path by this word.
    let step = match error {
        SandboxError::Missing { .. } => "sandbox",
        SandboxError::Path { .. } => "path",
        SandboxError::Closure(_) | SandboxError::OtherProgram { .. } => "program",
    };
    Failure { step, errno, detail: error.to_string() }
}

/// The plan's variables, but for those that lead elsewhere inside.
fn environment(theirs: &[String], built: &Built) -> Vec<String> {
    let inside = |entry: &&String| {
        let name = entry.split('=').next().unwrap_or_default();
        built.env.iter().any(|(own, _)| *own == name)
    };
    let kept = theirs.iter().filter(|entry| !inside(entry)).cloned();
    kept.chain(built.env.iter().map(|(name, value)| format!("{name}={value}"))).collect()
}
