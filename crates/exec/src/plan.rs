//! A launch as a plan for the keeper: typed values in, nothing looked up.

use ganger_core::{InstanceId, InstanceKind};
use ganger_keeper::wire::{Output, Pin, Plan, Stdin};
use ganger_policy::{Launch, Profile};
use ganger_sandbox::{
    self as sandbox, Access, Identified, Mode, Need, ProfileName, Sandbox, Shown, Wall,
};

use crate::left::{Note, SUFFIX};

/// What the keeper is to start. `passed`: a descriptor for its standard input goes with the plan.
pub(crate) fn plan(
    launch: &Launch,
    opened: &[Shown],
    note: &Note,
    slot: u32,
    passed: bool,
) -> Plan {
    let instance = InstanceId::new(format!("{}{SUFFIX}", note.policy), slot);
    // Arguments are made of texts; nothing of them can be lost here.
    let text = |arg: &ganger_policy::Argument| String::from_utf8_lossy(arg.bytes()).into_owned();
    let stamp = launch.program.stamp;
    Plan {
        env: launch.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        cwd: launch.cwd.absolute(),
        stdin: if passed { Stdin::Passed } else { Stdin::Null },
        stdout: Output::Pipe,
        stderr: Output::Pipe,
        profile: sandbox::Profile { sandbox: walls(launch, opened), ..profile(launch) },
        pin: Some(Pin {
            dev: stamp.dev,
            ino: stamp.ino,
            size: stamp.size,
            ctime_s: stamp.ctime.0,
            ctime_ns: stamp.ctime.1,
        }),
        blob: note.text(),
        ..Plan::new(
            instance,
            InstanceKind::Command,
            launch.program.real.clone(),
            launch.argv.iter().map(text).collect(),
        )
    }
}

/// Limits that the kernel and the keeper enforce; time and output are the run's to watch.
fn profile(launch: &Launch) -> sandbox::Profile {
    let limits = &launch.limits;
    sandbox::Profile {
        limits: sandbox::Limits {
            memory: limits.memory.map(|size| size.0),
            cpu: limits.cpu,
            pids: limits.pids,
            files: limits.files,
            // A core may hold what the program read, secrets too.
            core: Some(0),
            // Also where nobody looks: a second after the tree has used it up.
            cpu_time: limits.cpu_time.map(|time| whole_seconds(time.0).saturating_add(1)),
            tree_cpu_ms: limits.cpu_time.map(|time| crate::records::millis(time.0)),
            file_size: limits.file_size.map(|size| size.0),
            address_space: None,
        },
        // One of the walls where the policy says otherwise than they do: they know what leans on it.
        no_new_privs: !launch.layers.contains_key(&Wall::NoNewPrivs),
        need: if limits.require { Need::Require } else { Need::Prefer },
        ..sandbox::Profile::default()
    }
}

fn whole_seconds(time: std::time::Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

/// The walls around it: the policy's profile, the paths of this very launch, and the file that was decided on.
fn walls(launch: &Launch, opened: &[Shown]) -> Option<Box<Sandbox>> {
    let profile = match launch.sandbox {
        Profile::Strict => ProfileName::Strict,
        Profile::Standard => ProfileName::Standard,
        Profile::Build => ProfileName::Build,
        Profile::None => return None,
    };
    let script = launch.script.iter().map(|script| Shown {
        path: script.real.clone(),
        beneath: None,
        access: Access::Read,
    });
    let stamp = launch.program.stamp;
    Some(Box::new(Sandbox {
        profile,
        paths: opened.iter().cloned().chain(script).collect(),
        program: Some(Identified { device: stamp.dev, inode: stamp.ino }),
        layers: launch.layers.clone(),
        disk: launch.limits.disk.map(|size| size.0),
        watched: true,
        ..Sandbox::default()
    }))
}

/// Layers that the policy leaves out of its profile, by name.
pub(crate) fn left_out(launch: &Launch) -> Vec<String> {
    let off = launch.layers.iter().filter(|(_, mode)| **mode == Mode::Off);
    off.map(|(layer, _)| layer.as_str().to_owned()).collect()
}

/// What the policy wants and nothing enforces: told with every run, never passed over.
pub(crate) fn missing(launch: &Launch) -> Option<sandbox::Degraded> {
    let bounded = launch.limits.disk.is_some() && launch.sandbox == Profile::None;
    bounded.then(|| sandbox::Degraded {
        what: "disk limit".into(),
        why: "without a sandbox a command has no temporary file system of its own".into(),
        fix: "choose a profile; limits.file_size bounds each file".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use ganger_policy::{Beneath, Feed, Pinned, Stamp};

    use super::*;

    #[test]
    fn a_profile_becomes_walls_around_the_pinned_file() {
        let stamp = Stamp { dev: 7, ino: 8, size: 9, ctime: (1, 2) };
        let pinned =
            |path: &str| Pinned { path: path.into(), real: path.into(), stamp, sha256: None };
        let mut launch = Launch {
            program: pinned("/usr/bin/python3"),
            script: Some(pinned("/srv/tool")),
            argv: Vec::new(),
            env: BTreeMap::new(),
            cwd: Beneath { root: "/srv".into(), relative: String::new(), slash: false },
            stdin: Feed::None,
            paths: Vec::new(),
            sandbox: Profile::Strict,
            layers: [(Wall::Landlock, Mode::Prefer), (Wall::Net, Mode::Off)].into(),
            limits: ganger_policy::Limits::default(),
            rate: None,
            running: None,
            total: ganger_policy::Total::default(),
        };
        let walls = super::walls(&launch, &[]).unwrap();
        assert_eq!(walls.profile, ProfileName::Strict);
        assert_eq!(walls.program, Some(Identified { device: 7, inode: 8 }));
        assert_eq!(walls.paths.len(), 1, "a script is read by its interpreter");
        assert_eq!(walls.layers, [(Wall::Landlock, Mode::Prefer), (Wall::Net, Mode::Off)].into());
        assert_eq!(left_out(&launch), ["net"]);
        assert_eq!(super::profile(&launch).need, Need::Prefer);
        launch.limits.require = true;
        assert_eq!(super::profile(&launch).need, Need::Require);
        launch.sandbox = Profile::None;
        assert_eq!(super::walls(&launch, &[]), None);
    }

    #[test]
    fn cpu_time_is_never_rounded_to_none() {
        let whole = |ms| whole_seconds(Duration::from_millis(ms));
        assert_eq!((whole(0), whole(1), whole(1_000), whole(1_001)), (1, 1, 1, 2));
    }
}
