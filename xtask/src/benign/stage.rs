//! Where commands are run: a folder to read with one of everything, and a folder to write that is empty at each start.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::cases::{FILES, PATH, SETUP};
use crate::actor::{As, Said, USER};
use crate::{sh, test};

/// A compiler on a busy machine needs seconds; ganger's own deadline is shorter.
const DEADLINE: Duration = Duration::from_secs(180);
/// What the server of the machine says to whoever connects.
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nfrom-server\n";

pub(super) struct Stage {
    folder: tempfile::TempDir,
    user: bool,
    port: u16,
    /// Where the compiler itself is.
    rust: Option<String>,
    /// Where git's other programs are.
    git: Option<String>,
}

impl Stage {
    /// `base`: a folder whose parents nobody but root may change, since policies look at them.
    pub(super) fn new(base: &Path, ganger: &Path, who: As) -> Result<Self> {
        fs::create_dir_all(base)?;
        let folder = tempfile::Builder::new().prefix("benign-").tempdir_in(base)?;
        let path = folder.path().to_owned();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        fs::copy(ganger, path.join("ganger"))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
        // The compiler itself: what rustup puts along PATH asks for a home that a sandbox does not have.
        let rust = told(Command::new("rustc").args(["--print", "sysroot"]));
        let git = find("git").and_then(|git| told(Command::new(git).arg("--exec-path")));
        let stage = Self { folder, user: who == As::User, port, rust, git };
        for name in ["ro", "ro/c", "ro/npm", "home", "run"] {
            stage.folder(name)?;
        }
        for (name, text) in FILES {
            let path = stage.path(name);
            fs::write(&path, text)?;
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
            stage.give(&path)?;
        }
        let numbers: String =
            (0..60_000_u32).map(|n| format!("{}\n", n * 7_919 % 60_000)).collect();
        fs::write(stage.path("ro/numbers.txt"), numbers)?;
        stage.fresh()?;
        let setup = stage.said(stage.command("sh", &["-uc", SETUP])?, None)?;
        anyhow::ensure!(setup.code == Some(0), "the stage could not be set: {}", setup.text);
        Ok(stage)
    }

    fn folder(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::create_dir(&path)?;
        self.give(&path)
    }

    fn give(&self, path: &Path) -> Result<()> {
        if self.user {
            chown(path, Some(USER), Some(USER))?;
        }
        Ok(())
    }

    /// The folder to write, empty.
    pub(super) fn fresh(&self) -> Result<()> {
        let path = self.path("rw");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("could not empty {}", path.display()))
            }
            _ => self.folder("rw"),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A text with the stage's words in it; `{/cat}` is where `cat` is. None: a program is not installed.
    pub(super) fn filled(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for name in ["ro", "rw", "run"] {
            text = text.replace(&format!("{{{name}}}"), &self.path(name).display().to_string());
        }
        text = text.replace("{port}", &self.port.to_string());
        if text.contains("{git-core}") {
            text = text.replace("{git-core}", self.git.as_deref()?);
        }
        if text.contains("{rust}") {
            text = text.replace("{rust}", self.rust.as_deref()?);
        }
        while let Some((before, rest)) = text.split_once("{/") {
            let (name, after) = rest.split_once('}')?;
            let real = fs::canonicalize(find(name)?).ok()?;
            text = format!("{before}{}{after}", real.display());
        }
        Some(text)
    }

    /// A command of whoever plays, in the folder to write, with next to no environment.
    pub(super) fn command(&self, program: &str, args: &[&str]) -> Result<Command> {
        let fill = |text: &str| self.filled(text).with_context(|| format!("nothing for {text}"));
        let mut command = Command::new(fill(program)?);
        for arg in args {
            command.arg(fill(arg)?);
        }
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", self.path("home"));
        command.current_dir(self.path("rw")).stdin(Stdio::null());
        As::dress(self.user, &mut command);
        Ok(command)
    }

    /// Runs it to its end, or to the deadline, with a file of the folder to read as its input.
    pub(super) fn said(&self, mut command: Command, input: Option<&str>) -> Result<Said> {
        if let Some(name) = input {
            command.stdin(fs::File::open(self.path(name))?);
        }
        Said::by(command, &self.path("said"), DEADLINE)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Also after an error in the middle: the daemon of the policies' part may still be up.
        let ganger = self.path("ganger").display().to_string();
        if let Ok(mut command) = self.command(&ganger, &["down"]) {
            command.current_dir(self.path("run"));
            let _ = self.said(command, None);
        }
    }
}

/// Where a program is for people whose PATH is the usual one.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// Installs packages of programs that are missing, where that is possible; what is not there afterwards is skipped by name.
pub(super) fn install(packages: &[(&str, &str)]) {
    let missing = packages.iter().filter(|(program, _)| find(program).is_none());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !missing.is_empty()
        && let Err(error) = test::install(&missing)
    {
        println!("missing: {}: {error:#}", missing.join(", "));
    }
}

/// What a program says in one line, if it is there.
fn told(command: &mut Command) -> Option<String> {
    sh::capture(command).ok().map(|text| text.trim().to_owned())
}

fn answer(mut stream: TcpStream) {
    let mut request = [0; 1024];
    // Who goes away has what it wanted.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = stream.read(&mut request).and_then(|_| stream.write_all(ANSWER));
}
