//! What cargo built and where: the workspace's root, its target folder, binaries and test executables.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::sh;

/// A program of `cargo test`: a libtest executable.
#[derive(Debug, Clone)]
pub(crate) struct TestProgram {
    /// Folder of its package: `keeper`.
    pub(crate) package: String,
    /// Package, then target: `keeper` or `keeper::wire`.
    pub(crate) name: String,
    /// Absolute path.
    pub(crate) path: PathBuf,
    /// Folder of the package: where cargo runs it.
    pub(crate) folder: PathBuf,
}

/// Where the workspace is checked out.
pub(crate) fn root() -> Result<PathBuf> {
    // `cargo run` tells it; a copy of this program that is run by itself remembers where it was built.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest.parent().context("xtask stands in the workspace's root")?;
    Ok(root.to_path_buf())
}

/// `cargo`, the very one that runs this program, standing in the workspace.
pub(crate) fn cargo() -> Result<Command> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()?);
    Ok(command)
}

/// The target folder, `CARGO_TARGET_DIR` respected.
pub(crate) fn target_dir() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let text =
        sh::capture(cargo()?.args(["metadata", "--no-deps", "--format-version=1", "--offline"]))
            .or_else(|_| {
                sh::capture(cargo()?.args(["metadata", "--no-deps", "--format-version=1"]))
            })?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("`cargo metadata` printed something unexpected")?;
    Ok(metadata.target_directory)
}

/// Names a binary that is used instead of building one: an installed package, or a build with other settings.
pub(crate) const BINARY_ENV: &str = "XTASK_GANGER";

/// Builds the binary `ganger` (cargo's progress is shown) and returns its path.
pub(crate) fn ganger(release: bool) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(BINARY_ENV) {
        let path = std::path::absolute(&given).context("the working folder")?;
        println!("{BINARY_ENV}: using {}", path.display());
        return Ok(path);
    }
    let mut command = cargo()?;
    command.args(["build", "--package", "ganger", "--bin", "ganger"]);
    if release {
        command.arg("--release");
    }
    sh::run(&mut command)?;
    let path = target_dir()?.join(if release { "release" } else { "debug" }).join("ganger");
    if !path.is_file() {
        bail!("cargo built no binary at {}", path.display());
    }
    Ok(path)
}

/// Builds the daemon that a torture can end at named places and whose unsynced writes can be forgotten (the feature
/// `torture`, see `crates/sys/src/torture.rs`), under a name of its own.
pub(crate) fn tortured(release: bool) -> Result<PathBuf> {
    const NAME: &str = "ganger-tortured";
    let mut command = cargo()?;
    command.args(["build", "--package", "ganger", "--bin", NAME, "--features", "torture"]);
    if release {
        command.arg("--release");
    }
    sh::run(&mut command)?;
    let path = target_dir()?.join(if release { "release" } else { "debug" }).join(NAME);
    if !path.is_file() {
        bail!("cargo built no binary at {}", path.display());
    }
    Ok(path)
}

/// What `cargo test` builds.
#[derive(Debug)]
pub(crate) struct Built {
    /// All test programs of the workspace.
    pub(crate) tests: Vec<TestProgram>,
    /// The binary that they start, in the debug profile.
    pub(crate) ganger: PathBuf,
}

/// Builds what `cargo test` of the whole workspace runs. Of the whole, also for those who want some of it: cargo unites the features of
/// what it builds, so a selection would be compiled anew.
pub(crate) fn tests() -> Result<Built> {
    let mut command = cargo()?;
    command.args(["test", "--no-run", "--workspace", "--message-format=json-render-diagnostics"]);
    command.stderr(std::process::Stdio::inherit());
    let text = sh::capture(&mut command)?;
    let artifacts: Vec<Artifact> = text.lines().filter_map(Artifact::parse).collect();
    let ganger = artifacts
        .iter()
        .find(|artifact| artifact.is_binary("ganger"))
        .and_then(|artifact| artifact.executable.clone())
        .context("`cargo test --no-run` built no binary `ganger`")?;
    let mut tests: Vec<TestProgram> =
        artifacts.into_iter().filter_map(Artifact::test_program).collect();
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Built { tests, ganger })
}

/// One line of cargo's JSON that tells of something built.
#[derive(Debug, Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

impl Artifact {
    fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    fn is_binary(&self, name: &str) -> bool {
        !self.profile.test && self.target.name == name && self.target.kind == ["bin"]
    }

    fn test_program(self) -> Option<TestProgram> {
        let path = self.executable.filter(|_| self.profile.test)?;
        let folder = self.manifest_path.parent()?.to_path_buf();
        let package = folder.file_name()?.to_string_lossy().into_owned();
        let is_test = self.target.kind.iter().any(|kind| kind == "test");
        let name =
            if is_test { format!("{package}::{}", self.target.name) } else { package.clone() };
        Some(TestProgram { package, name, path, folder })
    }
}

/// The folder for things fetched once (packages, kernels): `TARGET/xtask/NAME`, made if it is not there.
pub(crate) fn cache_dir(name: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join("xtask").join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    Ok(dir)
}

/// A copy of this very program that no later build replaces: steps that run cargo may link `xtask` anew while it runs, and
/// `current_exe` then names a deleted file.
pub(crate) fn own_copy() -> Result<PathBuf> {
    let folder = cache_dir("bin")?;
    let (copy, fresh) =
        (folder.join("xtask"), folder.join(format!("xtask.{}", std::process::id())));
    std::fs::copy("/proc/self/exe", &fresh)
        .with_context(|| format!("could not copy this program to {}", fresh.display()))?;
    std::fs::rename(&fresh, &copy)
        .with_context(|| format!("could not put this program at {}", copy.display()))?;
    Ok(copy)
}
