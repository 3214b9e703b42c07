//! Debian's packages for the emulated machine: QEMU, the cloud kernel, static busybox.
//!
//! They are downloaded with `apt-get download` and unpacked with `dpkg -x` under the target folder: nothing is installed,
//! so this works without root and leaves the machine as it was. A QEMU that is installed is used as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh;

const KERNEL: &str = "linux-image-cloud-amd64";
const QEMU: &str = "qemu-system-x86";
const BUSYBOX: &str = "busybox-static";
const QEMU_PROGRAM: &str = "qemu-system-x86_64";
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Where the pieces are.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) kernel: PathBuf,
    pub(crate) busybox: PathBuf,
    qemu: PathBuf,
    /// Root of the unpacked packages; `None` when the machine's own QEMU is used.
    prefix: Option<PathBuf>,
}

impl Tools {
    /// A command that starts QEMU with its libraries, modules and firmware found.
    pub(crate) fn qemu(&self) -> Command {
        let mut command = Command::new(&self.qemu);
        if let Some(prefix) = &self.prefix {
            let libraries: Vec<String> =
                LIBRARIES.iter().map(|dir| prefix.join(dir).display().to_string()).collect();
            command.env("LD_LIBRARY_PATH", libraries.join(":"));
            command.env("QEMU_MODULE_DIR", prefix.join(LIBRARIES[0]).join("qemu"));
            for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(prefix.join(firmware));
            }
        }
        command
    }
}

/// Finds or fetches all pieces. They stay in `cache` for the next run.
pub(crate) fn ensure(cache: &Path) -> Result<Tools> {
    if !cfg!(target_arch = "x86_64") {
        bail!(
            "test-kernel boots an x86-64 kernel with x86-64 test programs; this machine is another"
        );
    }
    let unpacked = cache.join("root");
    let own_qemu = sh::which(QEMU_PROGRAM);
    if find(&unpacked, own_qemu.clone()).is_none() {
        fetch(cache, &unpacked, own_qemu.is_none())?;
    }
    find(&unpacked, own_qemu).with_context(|| {
        format!("the packages unpacked in {} lack a kernel, busybox or QEMU; remove that folder and run again", unpacked.display())
    })
}

fn find(unpacked: &Path, own_qemu: Option<PathBuf>) -> Option<Tools> {
    let kernel = std::fs::read_dir(unpacked.join("boot")).ok()?.find_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.starts_with("vmlinuz-").then_some(path)
    })?;
    let busybox = Some(unpacked.join("bin/busybox")).filter(|path| path.is_file())?;
    let (qemu, prefix) = match own_qemu {
        Some(path) => (path, None),
        None => {
            let path = unpacked.join("usr/bin").join(QEMU_PROGRAM);
            (Some(path).filter(|path| path.is_file())?, Some(unpacked.to_path_buf()))
        }
    };
    Some(Tools { kernel, busybox, qemu, prefix })
}

/// Downloads and unpacks what is missing. The unpacked folder appears whole or not at all.
fn fetch(cache: &Path, unpacked: &Path, with_qemu: bool) -> Result<()> {
    for program in ["apt-get", "dpkg"] {
        if sh::which(program).is_none() {
            bail!(
                "test-kernel fetches its kernel with Debian's `{program}`, which is not on this machine"
            );
        }
    }
    let mut names = vec![BUSYBOX.to_owned(), kernel_package()?];
    if with_qemu {
        names.extend(missing_packages(QEMU)?);
    }
    println!("test-kernel: fetching {} Debian packages into {}", names.len(), cache.display());
    let staging = tempfile::tempdir_in(cache).context("could not make a folder for packages")?;
    let mut download = Command::new("apt-get");
    download.current_dir(staging.path()).args(["download", "-q", "-o", "Acquire::Retries=2"]);
    sh::capture(download.args(&names)).context(
        "could not download Debian's kernel and QEMU: is there a network, and are the package lists fresh (`apt-get update`)?",
    )?;
    let root = staging.path().join("root");
    for entry in std::fs::read_dir(staging.path()).context("could not list the packages")? {
        let deb = entry?.path();
        if deb.extension().is_some_and(|ext| ext == "deb") {
            sh::capture(Command::new("dpkg").arg("-x").arg(&deb).arg(&root))?;
        }
    }
    if unpacked.exists() {
        std::fs::remove_dir_all(unpacked).context("could not remove the old packages")?;
    }
    std::fs::rename(&root, unpacked)
        .with_context(|| format!("could not move the packages to {}", unpacked.display()))
}

/// The package that holds the kernel itself: what the metapackage depends on. Fetches package lists once when
/// there are none and this is root.
fn kernel_package() -> Result<String> {
    if let Some(name) = kernel_dependency()? {
        return Ok(name);
    }
    if rustix::process::geteuid().is_root() {
        sh::capture(Command::new("apt-get").args(["update", "-q"]))
            .context("could not fetch Debian's package lists: is there a network?")?;
        if let Some(name) = kernel_dependency()? {
            return Ok(name);
        }
    }
    bail!(
        "apt knows no package `{KERNEL}`: this needs Debian 12 or later, a network, and package lists (as root: `apt-get update`)"
    )
}

fn kernel_dependency() -> Result<Option<String>> {
    let text = sh::output(Command::new("apt-cache").args(["depends", KERNEL]))?.stdout;
    Ok(String::from_utf8_lossy(&text).lines().find_map(|line| {
        let name = line.trim().strip_prefix("Depends: ")?;
        (name.starts_with("linux-image-") && !name.contains('<')).then(|| name.to_owned())
    }))
}

/// `package` and those of its dependencies that this machine lacks: what apt would install.
fn missing_packages(package: &str) -> Result<Vec<String>> {
    let mut simulate = Command::new("apt-get");
    simulate.args(["install", "--simulate", "--no-install-recommends", package]);
    let text =
        sh::capture(&mut simulate).with_context(|| format!("apt can't resolve `{package}`"))?;
    let names = text.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}
