//! `--find-layers`: which layers hold an attack, found by putting them back one after the other.

use anyhow::Result;

use super::play::{Around, played};
use super::stage::Stage;
use super::walls::Wall;

const LAYERS: [&str; 11] = [
    "cgroup",
    "uts",
    "ipc",
    "net",
    "pid",
    "user",
    "capabilities",
    "no_new_privs",
    "mount",
    "landlock",
    "seccomp",
];

/// Layers without all of which it succeeds, while each of them alone stops it.
pub(super) fn holders(stage: &Stage, case: &Wall, profile: &str, root: bool) -> Result<String> {
    let mut layers = LAYERS.to_vec();
    if !root {
        // Without a user namespace there is no other one to be had.
        layers.retain(|layer| *layer != "user");
        layers.insert(0, "user");
    }
    if !played(stage, case, Around::Nothing, profile, None)?.1 {
        return Ok("does not succeed without ganger".to_owned());
    }
    let mut off = layers.clone();
    if !played(stage, case, Around::Run(&off), profile, None)?.1 {
        return Ok("no layer: does not succeed without all of them".to_owned());
    }
    for layer in layers {
        let fewer: Vec<&str> = off.iter().copied().filter(|it| *it != layer).collect();
        if played(stage, case, Around::Run(&fewer), profile, None)?.1 {
            off = fewer;
        }
    }
    Ok(off.join("+"))
}
