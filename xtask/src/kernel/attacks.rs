//! `cargo xtask attacks --kernel`: the attacks in the emulated machine, and in ones that lack a layer.
//!
//! ```text
//! boot                                       what is played
//! as it is                                   every case, as root and as uid 1000; the clock may be set
//! lsm=capability                             J14 without Landlock
//! sysctl.user.max_user_namespaces=0          J14 without user namespaces
//! ```
//!
//! Emulation makes minutes of what takes seconds here, so this is no part of `cargo xtask test`.

use std::path::PathBuf;

use anyhow::Result;

use super::suite::{Suite, Unit, User};
use super::{guest, initramfs, packages};
use crate::attacks::compile;
use crate::build;
use crate::tally::Tally;

/// What policies of the attacks name, and their controls run.
const TOOLS: [&str; 13] = [
    "find", "tar", "git", "less", "script", "stdbuf", "ionice", "chrt", "xargs", "nohup", "curl",
    "ssh", "cmp",
];
/// The whole suite takes a minute or two here, of which emulation makes twenty.
const TIMEOUT_S: u32 = 3_000;

/// One boot: a name, parameters, and what is asked of `xtask attacks`.
const BOOTS: [(&str, &str, &str); 3] = [
    ("as it is", "", "--alone"),
    ("without Landlock", "lsm=capability", "--only J14 --lacks landlock"),
    ("without user namespaces", "sysctl.user.max_user_namespaces=0", "--only J14 --lacks user"),
];

/// Builds, boots, plays. `only`: ids of cases.
pub(crate) fn attacks(only: &[String]) -> Result<Tally> {
    let cache = build::cache_dir("kernel")?;
    let tools = packages::ensure(&cache)?;
    let folder = build::cache_dir("attacks")?;
    compile(&folder)?;
    let programs = [build::own_copy()?, build::ganger(false)?, folder.join("attack")];
    let mut tally = Tally::default();
    for (name, parameters, wish) in BOOTS {
        let wish = match name {
            "as it is" => only.iter().fold(wish.to_owned(), |all, id| format!("{all} --only {id}")),
            _ => wish.to_owned(),
        };
        println!("the machine {name}: {parameters}");
        let suite = suite(&programs, &wish);
        let image = cache.join("attacks.cpio");
        initramfs::write(&image, &tools, &suite)?;
        tally.add(guest::run(&tools, &image, &suite, parameters, &cache.join("attacks.log"))?);
    }
    Ok(tally)
}

fn suite([xtask, ganger, attack]: &[PathBuf; 3], wish: &str) -> Suite {
    let unit = |user: User| {
        let (who, stage) = match user {
            User::Root => ("root", "/srv/attacks"),
            User::Tester => ("user", "/home/tester/attacks"),
        };
        Unit {
            name: "attacks".to_owned(),
            user,
            timeout_s: TIMEOUT_S,
            command: format!(
                "{}={} {} attacks --as {who} --stage {stage} --program {} {wish}",
                build::BINARY_ENV,
                ganger.display(),
                xtask.display(),
                attack.display()
            ),
            folder: PathBuf::from("/tmp"),
        }
    };
    Suite {
        units: vec![unit(User::Root), unit(User::Tester)],
        programs: [xtask, ganger, attack].map(|path| path.clone()).to_vec(),
        data: Vec::new(),
        scripts: Vec::new(),
        tools: TOOLS.to_vec(),
    }
}
