//! A child with walls: they are built, put up, and when a layer that was only preferred is refused by the kernel, put up without it.
//!
//! ```text
//! begin ──▶ on its way ──go_on──▶ runs
//!   ▲                      ├────▶ failed
//!   └──a layer less────────┘
//! ```
//!
//! Nobody waits for it between these: all that another try would need is here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ganger_sandbox::cgroup::Driver;
use ganger_sandbox::walls::{
    Blame, Built, Inmate, Missing, Networks, SandboxError, missing_by_wish,
};
use ganger_sandbox::{Layers, Sandbox, Wall};
use ganger_sys::spawn::{Pending, Resource, Rlimit};

use crate::launch::{Begun, Failure, Start, Stop};
use crate::wire::Plan;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) sandbox: Sandbox,
    pub(crate) layers: Layers,
    pub(crate) environment: Vec<String>,
    /// See [`Inmate::hide`].
    pub(crate) own: Vec<PathBuf>,
    /// See [`Inmate::roots`].
    pub(crate) roots: Option<PathBuf>,
}

/// One that is on its way.
#[derive(Debug)]
pub(crate) struct Walled {
    start: Start,
    asked: Asked,
    /// Held descriptors that the plan names, with the number in the child: copies, as they may be released meanwhile.
    inherit: Vec<(OwnedFd, u32)>,
    /// Layers to be left out.
    missing: Missing,
    /// Of this try. What it has looked at has to be held until the child runs.
    built: Built,
    pending: Pending,
}

impl Walled {
    pub(crate) fn begin(
        start: Start,
        asked: Asked,
        inherit: &[(BorrowedFd<'_>, u32)],
        driver: &mut Driver,
        networks: &mut Networks,
    ) -> Result<Box<Self>, Failure> {
        let copy = |(fd, number): &(BorrowedFd<'_>, u32)| Ok((fd.try_clone_to_owned()?, *number));
        let inherit: std::io::Result<Vec<_>> = inherit.iter().map(copy).collect();
        let inherit = match inherit {
            Ok(inherit) => inherit,
            Err(error) => {
                let failure = Failure::io("stdio", "its descriptors", &error);
                return Err(start.failed(failure.into(), driver));
            }
        };
        let mut missing = missing_by_wish();
        match asked.put_up(&start, &inherit, &mut missing, networks) {
            Ok((built, pending)) => {
                Ok(Box::new(Self { start, asked, inherit, missing, built, pending }))
            }
            Err(failure) => Err(start.failed(failure.into(), driver)),
        }
    }

    /// Where it says that [`go_on`](Self::go_on) would not wait.
    pub(crate) const fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Waits until it runs or has failed; in the latter case it may be on its way again, without a layer.
    pub(crate) fn go_on(
        self: Box<Self>,
        driver: &mut Driver,
        networks: &mut Networks,
    ) -> Result<Begun, Failure> {
        let Self { mut start, asked, inherit, mut missing, built, pending } = *self;
        let stop = match pending.wait() {
            Ok(started) => {
                start.report.walls = built.standing;
                start.report.degraded.extend(built.degraded);
                let network = built.network;
                return Ok(Begun::Runs(Box::new(start.runs(started, network, driver))));
            }
            Err(error) => Stop::Spawn(error),
        };
        let again = asked
            .without(&start.plan, &built, stop, &mut missing)
            .and_then(|()| asked.put_up(&start, &inherit, &mut missing, networks));
        match again {
            Ok((built, pending)) => Ok(Begun::OnItsWay(Box::new(Self {
                start,
                asked,
                inherit,
                missing,
                built,
                pending,
            }))),
            Err(failure) => Err(start.failed(failure.into(), driver)),
        }
    }
}

impl Asked {
    /// Tries until it is on its way or nothing can be left out; each try has a layer less, so there are at most as many as
    /// layers.
    fn put_up(
        &self,
        start: &Start,
        inherit: &[(OwnedFd, u32)],
        missing: &mut Missing,
        networks: &mut Networks,
    ) -> Result<(Built, Pending), Failure> {
        loop {
            let inmate = Inmate {
                program: Path::new(&start.plan.program),
                cwd: Path::new(&start.plan.cwd),
                identity: start.plan.profile.identity.as_ref(),
                hide: &self.own,
                roots: self.roots.as_deref(),
            };
            let built = self.sandbox.build(inmate, missing);
            let mut built = built.map_err(|error| refused(&error, 0))?;
            if let Some(whose) = &start.plan.whose {
                let user = (start.plan.instance.name.clone(), whose.clone());
                networks.lend(user, &self.sandbox, &mut built);
            }
            let environment = environment(&self.environment, &built);
            let layers = self.layers(start, &built);
            let with = (&layers, environment.as_slice(), Some(&built.walls));
            let inherit = inherit.iter().map(|(fd, number)| (fd.as_fd(), *number));
            match start.spec(with, inherit, |spec, _| spec.begin()) {
                Ok(pending) => return Ok((built, pending)),
                Err(stop) => self.without(&start.plan, &built, stop, missing)?,
            }
        }
    }

    fn layers(&self, start: &Start, built: &Built) -> Layers {
        let mut layers = self.layers.clone();
        layers.no_new_privs |= built.needs_no_new_privs();
        if !layers.rlimits.iter().any(|limit| limit.resource == Resource::Core) {
            // A core file is the memory of what was to be contained.
            layers.rlimits.push(Rlimit { resource: Resource::Core, soft: 0, hard: 0 });
        }
        let alone = built.standing.contains(&Wall::User);
        if let Some(most) = start.processes.filter(|_| alone) {
            let resource = Resource::Processes;
            layers.rlimits.push(Rlimit { resource, soft: most, hard: most });
        }
        layers
    }

    /// Says which layer to leave out after a try that came to nothing, or that none can be.
    fn without(
        &self,
        plan: &Plan,
        built: &Built,
        stop: Stop,
        missing: &mut Missing,
    ) -> Result<(), Failure> {
        let Stop::Spawn(error) = &stop else { return Err(stop.told(plan)) };
        match self.sandbox.blame(built, error, missing) {
            Blame::Other => Err(stop.told(plan)),
            Blame::Refused(why) => Err(refused(&why, error.errno)),
            Blame::Again(wall, why) => {
                missing.insert(wall, why);
                Ok(())
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
