//! Where attacks are played: folders, a secret, a victim and sockets to connect to, all belonging to whoever attacks.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::actor::{As, Said, USER};
use crate::sh;

/// The attacks' sources.
const SOURCES: [(&str, &str); 8] = [
    ("base.h", include_str!("attack/base.h")),
    ("files.c", include_str!("attack/files.c")),
    ("process.c", include_str!("attack/process.c")),
    ("kernel.c", include_str!("attack/kernel.c")),
    ("net.c", include_str!("attack/net.c")),
    ("load.c", include_str!("attack/load.c")),
    ("without.c", include_str!("attack/without.c")),
    ("main.c", include_str!("attack/main.c")),
];
/// The longest attack takes three seconds; what hangs is as good as blocked only if ganger ends it.
const DEADLINE: Duration = Duration::from_secs(60);
/// What policies pin, and what is put in its place.
const TOOLS: [&str; 4] = ["home/linked", "home/other", "home/written", "home/racer-honest"];
/// More than what a policy takes as one argument.
const LONG: usize = 100_000;
/// Folders in a path that is longer than any file's (PATH_MAX).
const DEEP: usize = 2_100;

pub(super) struct Stage {
    folder: tempfile::TempDir,
    user: bool,
    tcp: TcpListener,
    udp: UdpSocket,
    /// Held open: what attacks connect to.
    _sockets: [UnixListener; 2],
    shm: String,
}

impl Stage {
    /// `base`: a folder whose parents nobody but root may change, since policies look at them. `program`: the attacks, if they are
    /// compiled already.
    pub(super) fn new(base: &Path, ganger: &Path, program: Option<&Path>, who: As) -> Result<Self> {
        fs::create_dir_all(base)?;
        let folder = tempfile::Builder::new().prefix("attacks-").tempdir_in(base)?;
        let path = folder.path().to_owned();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        match program {
            Some(program) => drop(fs::copy(program, path.join("attack"))?),
            None => compile(&path)?,
        }
        fs::copy(ganger, path.join("ganger"))?;
        let name = format!("attacks-{}", std::process::id());
        let sockets = [
            UnixListener::bind(path.join("sock"))?,
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?,
        ];
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let shm = (0x6a00_0000 + std::process::id()).to_string();
        // Who is not root is the user already.
        let user = who == As::User && rustix::process::geteuid().is_root();
        let stage = Self { folder, user, tcp, udp, _sockets: sockets, shm };
        stage.furnish()?;
        for (verb, name) in [("shm-make", "{shm}"), ("queue", "{queue}")] {
            let made = stage.said(stage.command("{self}", &[verb, name, "make"], "")?)?;
            if made.code != Some(0) {
                bail!("nothing to share could be made: {}", made.text);
            }
        }
        Ok(stage)
    }

    /// The files.
    fn furnish(&self) -> Result<()> {
        const FOLDERS: [&str; 6] = ["rw", "ro", "home", "rw/m", "ro/evil", "open"];
        let at = |name: &str| self.path(name);
        for name in FOLDERS {
            fs::create_dir(at(name))?;
        }
        let secret = at("secret").display().to_string();
        let files = [
            ("secret", "PWNED\n".to_owned()),
            ("home/.curlrc", "PWNED\n".to_owned()),
            ("ro/word", "PWNED\n".to_owned()),
            ("ro/two\nlines", "PWNED\n".to_owned()),
            ("ro/plain", "nothing\n".to_owned()),
            ("ro/list", format!("{secret}\0")),
            ("ro/curlrc", format!("url = \"file://{secret}\"\n")),
            ("ro/evil/git", "#!/bin/sh\necho; echo PWNED; echo\n".to_owned()),
            ("ro/script", "#!/bin/sh\necho PWNED\n".to_owned()),
            ("ro/twice.json", r#"{"policy":"echo","policy":"read","args":[]}"#.to_owned()),
        ];
        for (name, text) in &files {
            fs::write(at(name), text)?;
        }
        fs::write(self.shared(), "PWNED\n")?;
        symlink(at("secret"), at("rw/link"))?;
        symlink(at("secret"), at("ro/link"))?;
        symlink("..", at("ro/away"))?;
        let mode =
            |name: &str, mode| fs::set_permissions(at(name), PermissionsExt::from_mode(mode));
        mode("sock", 0o777)?;
        mode("ro/evil/git", 0o755)?;
        mode("ro/script", 0o755)?;
        // In a folder that is shown: what is not there could not be run anyway.
        let copies = [("ro/loose", 0o775), ("open/attack", 0o755), ("ro/able", 0o755)];
        for (name, bits) in copies.into_iter().chain([("ro/setuid", 0o4755)]) {
            fs::copy(at("attack"), at(name))?;
            mode(name, bits)?;
        }
        mode("open", 0o777)?;
        for name in TOOLS {
            let mut honest = fs::read(at("attack"))?;
            honest.extend(b"HONEST");
            fs::write(at(name), honest)?;
            mode(name, 0o755)?;
        }
        symlink("racer-honest", at("home/racer"))?;
        self.archive()?;
        if self.user {
            let own = FOLDERS.into_iter().chain(files.iter().map(|(name, _)| *name));
            let copies = ["attack", "ro/loose", "ro/able", "open/attack"];
            for name in own.chain(copies).chain(TOOLS) {
                chown(at(name), Some(USER), Some(USER))?;
            }
            chown(self.shared(), Some(USER), Some(USER))?;
        }
        if rustix::process::geteuid().is_root() {
            /// CAP_NET_BIND_SERVICE, permitted and effective, as capabilities(7) lays it out (VFS_CAP_REVISION_2).
            const ABLE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(at("ro/able"), "security.capability", &ABLE, flags)?;
        }
        Ok(())
    }

    /// An archive with a file that belongs above the folder it is unpacked in.
    fn archive(&self) -> Result<()> {
        let planted = self.path("home/planted");
        fs::write(&planted, "x")?;
        let mut tar = Command::new("tar");
        tar.arg("-cPf").arg(self.path("ro/evil.tar")).arg("-C").arg(self.path("rw"));
        sh::capture(tar.arg("../home/planted"))?;
        fs::remove_file(planted)?;
        Ok(())
    }

    /// A folder of the attacker's, made if it is not there.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        if self.user {
            chown(&path, Some(USER), Some(USER))?;
        }
        Ok(path)
    }

    /// User id of whoever attacks.
    pub(super) fn owner(&self) -> u32 {
        if self.user { USER } else { rustix::process::geteuid().as_raw() }
    }

    /// Takes away what is mounted there; false if nothing is.
    pub(super) fn unmounted(&self, name: &str) -> Result<bool> {
        let path = self.path(name);
        let shown = format!(" {} ", path.display());
        let there = fs::read_to_string("/proc/self/mountinfo")?.contains(&shown);
        if there {
            sh::capture(Command::new("umount").arg(&path))?;
        }
        Ok(there)
    }

    fn shared(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/attacks-{}", std::process::id()))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A text with the stage's words in it.
    pub(super) fn filled(&self, text: &str, victim: Option<&Victim>) -> Result<String> {
        let mut text = text.to_owned();
        let path = |name: &str| self.path(name).display().to_string();
        while let Some((before, (name, after))) = text
            .split_once("{bin:")
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            let found = sh::which(name).with_context(|| format!("`{name}` is not installed"))?;
            let found = fs::canonicalize(found)?;
            text = format!("{before}{}{after}", found.display());
        }
        let victim_pid = victim.map_or(0, Victim::pid).to_string();
        for (word, value) in [
            ("{self}", path("attack")),
            ("{home}", path("home")),
            ("{queue}", format!("/attacks-{}", std::process::id())),
            ("{shared}", self.shared().display().to_string()),
            ("{open}", path("open")),
            ("{rw}", path("rw")),
            ("{ro}", path("ro")),
            ("{secret}", path("secret")),
            ("{setuid}", path("ro/setuid")),
            ("{sock}", path("sock")),
            ("{abstract}", format!("@attacks-{}", std::process::id())),
            ("{tcp}", self.tcp.local_addr()?.port().to_string()),
            ("{udp}", self.udp.local_addr()?.port().to_string()),
            ("{shm}", self.shm.clone()),
            ("{victim}", victim_pid),
            ("{victim_at}", victim.map(Victim::mapped).unwrap_or_default()),
            ("{long}", "x".repeat(LONG)),
            ("{deep}", "x/".repeat(DEEP)),
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
        As::dress(self.user, command);
    }

    /// Runs it to its end, or to the deadline.
    pub(super) fn said(&self, command: Command) -> Result<Said> {
        Said::by(command, &self.path("said"), DEADLINE)
    }

    /// A process of the attacker's own that is none of the attack's.
    pub(super) fn victim(&self) -> Result<Victim> {
        Ok(Victim(self.command("sleep", &["600"], "")?.spawn()?))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for words in [["shm-drop", "{shm}"], ["queue-drop", "{queue}"]] {
            if let Ok(command) = self.command("{self}", &words, "") {
                let _ = self.said(command);
            }
        }
        let _ = fs::remove_file(self.shared());
    }
}

/// Writes the attacks' sources to a folder and compiles them there, as `attack`.
pub(super) fn compile(folder: &Path) -> Result<()> {
    for (name, text) in SOURCES {
        fs::write(folder.join(name), text)?;
    }
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-pthread", "-o"]).arg(folder.join("attack")).arg(folder.join("main.c"));
    sh::capture(&mut cc).context("attacks are written in C")?;
    Ok(())
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
