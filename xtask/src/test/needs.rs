//! What the tests need beyond the Rust toolchain: installed here when that is possible, named when it is not.

use std::process::Command;

use crate::sh;
use crate::tally::Tally;

/// Programs and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 3] = [("cc", "gcc"), ("node", "nodejs"), ("python3", "python3")];

/// What is there.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) node: bool,
    pub(crate) python: bool,
    pub(crate) nextest: bool,
}

/// Installs what is missing (root and apt-get), or says that it is missing.
pub(crate) fn prepare(tally: &mut Tally) -> Machine {
    let missing: Vec<(&str, &str)> =
        PROGRAMS.into_iter().filter(|(program, _)| sh::which(program).is_none()).collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        if let Err(error) = install(&packages) {
            println!("missing: {}: {error:#}", packages.join(", "));
        }
    }
    if !rustix::process::geteuid().is_root() {
        tally.skip("tests that need root (each names itself in its output): this is not root");
    }
    Machine {
        node: sh::which("node").is_some(),
        python: sh::which("python3").is_some(),
        nextest: sh::which("cargo-nextest").is_some(),
    }
}

/// Debian packages, where this is root on Debian.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("not root; install with `sudo apt-get install {}`", packages.join(" "));
    }
    if sh::which("apt-get").is_none() {
        anyhow::bail!("this machine has no apt-get; install them by its own means");
    }
    println!("installing {}", packages.join(", "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    sh::capture(apt().args(["update", "-q"]))?;
    sh::capture(apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(packages))?;
    Ok(())
}
