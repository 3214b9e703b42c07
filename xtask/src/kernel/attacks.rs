//! `cargo xtask attacks --kernel`: the attacks in the emulated machine, and in ones that lack a layer.
//!
//! ```text
//! boot                                       what is played
//! as it is                                   every case, as root and as uid 1000; the clock may be set
//! lsm=capability                             J14 without Landlock
//! sysctl.user.max_user_namespaces=0          J14 without user namespaces
//! ```
//!
//! Emulation makes minutes of what takes seconds here, so this is no part of `cargo xtask test`; the binary is the release build, and
//! the cases are played in parts with a time of their own, each with its stage and daemon: what hangs is known and ends its part only.

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
/// One part of a boot takes a minute or five; one that takes longer hangs.
const TIMEOUT_S: u32 = 900;
/// Cases that are played by one unit: how their ids begin.
const PARTS: [&[&str]; 8] = [
    &["A", "C"],
    &["B"],
    &["D", "E"],
    &["F"],
    &["G", "N"],
    &["R"],
    &["J0", "J12", "J13", "J15"],
    &["J14"],
];

/// One boot: a name, parameters, and what is asked of `xtask attacks`, besides the cases where it names some.
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
    let programs = [build::own_copy()?, build::ganger(true)?, folder.join("attack")];
    let mut tally = Tally::default();
    for (name, parameters, wish) in BOOTS {
        let lacks_nothing = parameters.is_empty();
        if !lacks_nothing
            && !only.is_empty()
            && !only.iter().any(|id| "J14".starts_with(id.as_str()))
        {
            continue;
        }
        let wishes = if lacks_nothing { parts(wish, only) } else { vec![wish.to_owned()] };
        println!("the machine {name}: {parameters}");
        let suite = suite(&programs, &wishes);
        let image = cache.join("attacks.cpio");
        initramfs::write(&image, &tools, &suite)?;
        let console = cache.join(format!("attacks-{}.log", name.replace(' ', "-")));
        tally.add(guest::run(&tools, &image, &suite, parameters, &console)?);
    }
    Ok(tally)
}

/// What is asked of each part: all cases of its own, or those of them that are wanted.
fn parts(wish: &str, only: &[String]) -> Vec<String> {
    let own = |ids: &[&str]| -> Vec<String> {
        let narrower = only.iter().filter(|id| ids.iter().any(|own| id.starts_with(own)));
        let wider = ids.iter().filter(|own| only.iter().any(|id| own.starts_with(id.as_str())));
        let mut found: Vec<String> = narrower.cloned().collect();
        found.extend(wider.map(|own| (*own).to_owned()));
        found.dedup();
        if only.is_empty() { ids.iter().map(|id| (*id).to_owned()).collect() } else { found }
    };
    let wanted = PARTS.iter().map(|ids| own(ids)).filter(|ids| !ids.is_empty());
    let ask =
        |ids: Vec<String>| ids.iter().fold(wish.to_owned(), |all, id| format!("{all} --only {id}"));
    wanted.map(ask).collect()
}

fn suite([xtask, ganger, attack]: &[PathBuf; 3], wishes: &[String]) -> Suite {
    let unit = |user: User, wish: &str| {
        let (who, stage) = match user {
            User::Root => ("root", "/srv/attacks"),
            User::Tester => ("user", "/home/tester/attacks"),
        };
        Unit {
            name: format!("attacks {}", ids(wish)),
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
    let units = [User::Root, User::Tester].into_iter();
    Suite {
        units: units.flat_map(|user| wishes.iter().map(move |wish| unit(user, wish))).collect(),
        programs: [xtask, ganger, attack].map(|path| path.clone()).to_vec(),
        data: Vec::new(),
        scripts: Vec::new(),
        tools: TOOLS.to_vec(),
    }
}

/// The cases that are asked for, as a unit is called.
fn ids(wish: &str) -> String {
    let mut words = wish.split(' ');
    let mut found = Vec::new();
    while words.any(|word| word == "--only") {
        found.extend(words.next());
    }
    found.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_belongs_to_one_part_and_parts_are_named_by_their_cases() {
        let all = crate::attacks::ids();
        assert!(all.len() > 100, "{}", all.len());
        for id in all {
            // The log after all of it is looked at in the part that changes it most.
            let of = |ids: &&[&str]| ids.iter().any(|begin| id.starts_with(begin));
            assert_eq!(PARTS.iter().copied().filter(|ids| of(ids)).count(), 1, "{id}");
        }
        let wishes = parts("--alone", &[]);
        assert_eq!(ids(&wishes[0]), "A C");
        let some = ["E07", "J", "A"].map(str::to_owned);
        let wishes = parts("", &some);
        let wishes: Vec<String> = wishes.iter().map(|wish| ids(wish)).collect();
        assert_eq!(wishes, ["A", "E07", "J0 J12 J13 J15", "J14"]);
    }
}
