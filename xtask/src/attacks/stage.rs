//! Where attacks are played: folders, a secret, a victim and sockets to connect to, all belonging to whoever attacks.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::As;
use crate::sh;

const PROGRAM: &str = include_str!("attack.c");
/// `nobody`.
const USER: u32 = 65_534;
/// The longest attack takes three seconds; what hangs is as good as blocked only if ganger ends it.
const DEADLINE: Duration = Duration::from_secs(60);
/// More than what a policy takes as one argument.
const LONG: usize = 100_000;

pub(super) struct Stage {
    folder: tempfile::TempDir,
    user: bool,
    tcp: TcpListener,
    udp: UdpSocket,
    /// Held open: what attacks connect to.
    _sockets: [UnixListener; 2],
    shm: String,
}

/// What a command said and how it ended.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) code: Option<i32>,
}

impl Said {
    pub(super) fn has_line(&self, line: &str) -> bool {
        self.text.lines().any(|said| said.trim() == line)
    }
}

impl Stage {
    /// `base`: a folder whose parents nobody but root may change, since policies look at them.
    pub(super) fn new(base: &Path, ganger: &Path, who: As) -> Result<Self> {
        fs::create_dir_all(base)?;
        let folder = tempfile::Builder::new().prefix("attacks-").tempdir_in(base)?;
        let path = folder.path().to_owned();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        fs::write(path.join("attack.c"), PROGRAM)?;
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-o"]).arg(path.join("attack")).arg(path.join("attack.c"));
        sh::capture(&mut cc).context("attacks are written in C")?;
        fs::copy(ganger, path.join("ganger"))?;
        let user = who == As::User;
        for name in ["rw", "ro", "home", "rw/m"] {
            fs::create_dir(path.join(name))?;
        }
        fs::write(path.join("secret"), "PWNED\n")?;
        fs::write(path.join("ro/word"), "PWNED\n")?;
        fs::write(path.join("ro/large"), vec![b'x'; 256 << 10])?;
        fs::write(path.join("ro/list"), format!("{}\0", path.join("secret").display()))?;
        fs::write(path.join("ro/twice.json"), r#"{"policy":"echo","policy":"read","args":[]}"#)?;
        symlink(path.join("secret"), path.join("rw/link"))?;
        symlink(path.join("secret"), path.join("ro/link"))?;
        let name = format!("attacks-{}", std::process::id());
        let sockets = [
            UnixListener::bind(path.join("sock"))?,
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?,
        ];
        fs::set_permissions(path.join("sock"), PermissionsExt::from_mode(0o777))?;
        if rustix::process::geteuid().is_root() {
            fs::copy(path.join("attack"), path.join("setuid"))?;
            fs::set_permissions(path.join("setuid"), PermissionsExt::from_mode(0o4755))?;
        }
        if user {
            for name in ["rw", "ro", "home", "rw/m", "ro/word", "attack", "secret"] {
                chown(path.join(name), Some(USER), Some(USER))?;
            }
        }
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let shm = (0x6a00_0000 + std::process::id()).to_string();
        let stage = Self { folder, user, tcp, udp, _sockets: sockets, shm };
        let made = stage.said(stage.command("{self}", &["shm-make", "{shm}"], "")?)?;
        if !made.has_line("made") {
            bail!("no shared memory could be made: {}", made.text);
        }
        Ok(stage)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A text with the stage's words in it.
    pub(super) fn filled(&self, text: &str, victim: Option<&Victim>) -> Result<String> {
        let mut text = text.to_owned();
        let path = |name: &str| self.path(name).display().to_string();
        let program = |name: &str| -> Result<String> {
            let found = sh::which(name).with_context(|| format!("`{name}` is not installed"))?;
            Ok(fs::canonicalize(found)?.display().to_string())
        };
        for name in ["find", "tar", "git", "sort", "cat"] {
            let word = format!("{{{name}}}");
            if text.contains(&word) {
                text = text.replace(&word, &program(name)?);
            }
        }
        let victim_pid = victim.map_or(0, Victim::pid).to_string();
        for (word, value) in [
            ("{self}", path("attack")),
            ("{rw}", path("rw")),
            ("{ro}", path("ro")),
            ("{secret}", path("secret")),
            ("{setuid}", path("setuid")),
            ("{sock}", path("sock")),
            ("{abstract}", format!("@attacks-{}", std::process::id())),
            ("{tcp}", self.tcp.local_addr()?.port().to_string()),
            ("{udp}", self.udp.local_addr()?.port().to_string()),
            ("{shm}", self.shm.clone()),
            ("{victim}", victim_pid),
            ("{victim_at}", victim.map(Victim::mapped).unwrap_or_default()),
            ("{long}", "x".repeat(LONG)),
        ] {
            text = text.replace(word, &value);
        }
        Ok(text)
    }

    /// A command of whoever attacks, in the stage's folder, with next to no environment.
    pub(super) fn command(&self, program: &str, args: &[&str], mark: &str) -> Result<Command> {
        let mut command = Command::new(self.filled(program, None)?);
        for arg in args {
            command.arg(self.filled(arg, None)?);
        }
        self.dress(&mut command, mark);
        Ok(command)
    }

    pub(super) fn dress(&self, command: &mut Command, mark: &str) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("home"));
        command.env("DATABASE_URL", "x").env(crate::torture::procs::MARK, mark);
        command.current_dir(self.path("home")).stdin(Stdio::null());
        if self.user {
            command.uid(USER).gid(USER);
        }
    }

    /// Runs it to its end, or to the deadline.
    pub(super) fn said(&self, mut command: Command) -> Result<Said> {
        let out = self.path("said");
        let file = fs::File::create(&out)?;
        command.stdout(file.try_clone()?).stderr(file);
        let text = sh::shown(&command);
        let short: String = text.chars().take(200).collect();
        let mut child = command.spawn().with_context(|| format!("could not start `{short}`"))?;
        if !ends(&child)? {
            child.kill()?;
        }
        let code = child.wait()?.code();
        let mut bytes = Vec::new();
        // What floods is not read to its end.
        fs::File::open(&out)?.take(1 << 20).read_to_end(&mut bytes)?;
        Ok(Said { text: String::from_utf8_lossy(&bytes).into_owned(), code })
    }

    /// A process of the attacker's own that is none of the attack's.
    pub(super) fn victim(&self) -> Result<Victim> {
        Ok(Victim(self.command("sleep", &["600"], "")?.spawn()?))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Also after an error in the middle of the cases: the daemon of the policies' part may still be up.
        let ganger = self.path("ganger").display().to_string();
        for (program, args) in [("{self}", &["shm-drop", "{shm}"][..]), (&ganger, &["down"])] {
            if let Ok(command) = self.command(program, args, "") {
                let _ = self.said(command);
            }
        }
    }
}

fn ends(child: &Child) -> Result<bool> {
    let pid = Pid::from_raw(child.id().cast_signed()).context("a process has a number")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = Timespec { tv_sec: i64::try_from(DEADLINE.as_secs())?, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))? > 0)
}

pub(super) struct Victim(Child);

impl Victim {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// An address that it has.
    fn mapped(&self) -> String {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap_or_default();
        maps.split('-').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
