//! What cargo built and where: the workspace's root, its target folder, binaries and test executables.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::sh;

/// A program of `cargo test`: a libtest executable.
#[derive(Debug, Clone)]
pub(crate) struct TestProgram {
    /// Package, then target: `ganger-core` or `ganger-core::wire`.
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

/// Builds the test programs of `packages` (all test targets, also helper binaries that they start).
pub(crate) fn test_programs(packages: &[&str]) -> Result<Vec<TestProgram>> {
    let mut command = cargo()?;
    command.args(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    for package in packages {
        command.args(["--package", package]);
    }
    command.stderr(std::process::Stdio::inherit());
    let text = sh::capture(&mut command)?;
    let mut programs: Vec<TestProgram> = text.lines().filter_map(test_program).collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// Builds all binaries of `packages` in the debug profile and returns their paths.
pub(crate) fn binaries(packages: &[&str]) -> Result<Vec<PathBuf>> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let mut command = cargo()?;
    command.args(["build", "--bins", "--message-format=json-render-diagnostics"]);
    for package in packages {
        command.args(["--package", package]);
    }
    command.stderr(std::process::Stdio::inherit());
    let text = sh::capture(&mut command)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    Ok(messages.filter_map(|message| message.executable).collect())
}

/// One line of cargo's JSON, if it tells of a test executable.
fn test_program(line: &str) -> Option<TestProgram> {
    #[derive(Deserialize)]
    struct Message {
        manifest_path: PathBuf,
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let message: Message = serde_json::from_str(line).ok()?;
    let path = message.executable.filter(|_| message.profile.test)?;
    let folder = message.manifest_path.parent()?.to_path_buf();
    let krate = folder.file_name()?.to_string_lossy().into_owned();
    let is_test = message.target.kind.iter().any(|kind| kind == "test");
    let name = if is_test { format!("{krate}::{}", message.target.name) } else { krate };
    Some(TestProgram { name, path, folder })
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
