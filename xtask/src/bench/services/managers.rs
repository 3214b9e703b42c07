//! ganger, supervisord and PM2 with the same programs: the probe, and others that rest.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::probe::SCRIPT;
use crate::ganger::Ganger;
use crate::sh;

/// How long the others rest: a number by which they are found.
const REST: &str = "8640017";
/// All must be up within this.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whose restart is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ganger,
    Supervisord,
    Pm2,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ganger => "ganger",
            Self::Supervisord => "supervisord",
            Self::Pm2 => "PM2",
        }
    }
}

/// A manager that is up; ended when dropped.
pub(super) struct Manager(Running);

enum Running {
    Ganger(Ganger),
    Supervisord(Child),
    Pm2 { tools: PathBuf, home: PathBuf },
}

impl Manager {
    /// Starts it with the probe of `folder` and so many others. All of them restart at once, without a limit.
    pub(super) fn start(
        kind: Kind,
        binary: &Path,
        tools: &Path,
        folder: &Path,
        others: usize,
    ) -> Result<Self> {
        let probe = folder.join(SCRIPT);
        // It is there before its programs are: what fails half-way is ended too.
        match kind {
            Kind::Ganger => {
                std::fs::write(folder.join("ganger.toml"), ganger_toml(&probe, others))?;
                let ganger = Ganger::new(binary.to_path_buf(), folder.to_path_buf());
                let manager = Self(Running::Ganger(ganger.clone()));
                ganger.up().map(|()| manager)
            }
            Kind::Supervisord => supervisord(tools, folder, &probe, others).map(Self),
            Kind::Pm2 => {
                let apps = folder.join("apps.json");
                std::fs::write(&apps, pm2_apps(&probe, others))?;
                let home = folder.join("pm2");
                let manager = Self(Running::Pm2 { tools: tools.to_path_buf(), home: home.clone() });
                sh::capture(pm2(tools, &home).arg("start").arg(&apps)).map(|_| manager)
            }
        }
    }

    /// Returns when all others are up.
    #[expect(clippy::unused_self, reason = "it is asked of a manager that is up")]
    pub(super) fn settled(&self, others: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while resting() < others {
            if Instant::now() > deadline {
                bail!("{} of {others} are up after {PATIENCE:?}", resting());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        // What starting them left behind (records, logs) is not what is measured.
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let ended = match &mut self.0 {
            Running::Ganger(ganger) => ganger.down(),
            Running::Supervisord(child) => end(child),
            Running::Pm2 { tools, home } => sh::capture(pm2(tools, home).arg("kill")).map(drop),
        };
        if let Err(error) = ended {
            println!("could not be ended: {error:#}");
        }
    }
}

fn ganger_toml(probe: &Path, others: usize) -> String {
    let mut text = format!(
        "version = 1\n[service.probe]\ncommand = [\"/bin/sh\", {probe:?}]\n\
         restart = {{ on = \"always\", backoff = \"0s..0s\", max = 4096, within = \"1s\" }}\n"
    );
    for n in 1..=others {
        let _ = write!(text, "[service.rest{n}]\ncommand = [\"sleep\", \"{REST}\"]\n");
    }
    text
}

fn supervisord(tools: &Path, folder: &Path, probe: &Path, others: usize) -> Result<Running> {
    let at = folder.display();
    let program = "autorestart=true\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n";
    let mut text = format!(
        "[supervisord]\nnodaemon=true\nminfds=16384\nlogfile={at}/log\npidfile={at}/pid\n\
         [program:probe]\ncommand=/bin/sh {}\n{program}",
        probe.display()
    );
    for n in 1..=others {
        let _ = write!(text, "[program:rest{n}]\ncommand=sleep {REST}\n{program}");
    }
    let config = folder.join("supervisord.conf");
    std::fs::write(&config, text)?;
    let mut command = Command::new("python3");
    command.args(["-m", "supervisor.supervisord", "-n", "-c"]).arg(&config).current_dir(folder);
    command.env("PYTHONPATH", tools.join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Running::Supervisord(command.spawn().context("could not start supervisord")?))
}

/// SIGTERM, so that it ends its programs.
fn end(child: &mut Child) -> Result<()> {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    child.wait()?;
    Ok(())
}

fn pm2_apps(probe: &Path, others: usize) -> String {
    let app = |name: String, script: &str, args: &str, interpreter: &str| {
        serde_json::json!({
            "name": name, "script": script, "args": args, "interpreter": interpreter,
            "max_restarts": 1_000_000, "min_uptime": 100, "out_file": "/dev/null", "error_file": "/dev/null",
        })
    };
    let mut apps = vec![app("probe".into(), &probe.to_string_lossy(), "", "/bin/sh")];
    apps.extend((1..=others).map(|n| app(format!("rest{n}"), "/bin/sleep", REST, "none")));
    serde_json::json!({ "apps": apps }).to_string()
}

/// A call of PM2 with a home of its own.
pub(in crate::bench) fn pm2(tools: &Path, home: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(tools.join("node_modules/pm2/bin/pm2")).env("PM2_HOME", home);
    command
}

/// How many of the resting programs run.
fn resting() -> usize {
    let wanted = format!("\0{REST}\0");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| line.starts_with(b"sleep\0") || line.starts_with(b"/bin/sleep\0"))
        .filter(|line| line.ends_with(wanted.as_bytes()))
        .count()
}
