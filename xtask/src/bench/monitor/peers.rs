//! Who else watches processes: Debian's process-exporter and Netdata's apps.plugin, psutil, pidusage.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{named, threads};
use crate::{build, sh};

/// Pinned so that runs compare; what comes from Debian is its own version.
const PIDUSAGE: &str = "pidusage@4.1.0";
const PSUTIL: &str = "psutil==7.2.2";
/// Of Debian, unpacked and not installed: no service of theirs is to start.
const PACKAGES: [&str; 3] = ["prometheus-process-exporter", "netdata-core", "libuv1"];
/// Where process-exporter listens.
const PORT: u16 = 29_256;

/// One of them, with the folder of what it needs.
#[derive(Debug)]
pub(super) struct Peer {
    kind: Kind,
    tools: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exporter,
    Netdata,
    Psutil,
    Pidusage,
}

/// All, installed where that can be; who can't be is left out when asked.
pub(super) fn all(tools: &Path) -> Vec<Peer> {
    for done in [debian(tools), pip(tools), npm(tools)] {
        if let Err(error) = done {
            println!("can't be installed: {error:#}");
        }
    }
    let kinds = [Kind::Exporter, Kind::Netdata, Kind::Psutil, Kind::Pidusage];
    kinds.map(|kind| Peer { kind, tools: tools.to_path_buf() }).into()
}

impl Peer {
    pub(super) fn name(&self) -> String {
        match self.kind {
            Kind::Exporter => "process-exporter 0.7.10, scraped each second".into(),
            Kind::Netdata => "Netdata's apps.plugin 1.37.1".into(),
            Kind::Psutil => PSUTIL.replace("==", " "),
            Kind::Pidusage => PIDUSAGE.replace('@', " "),
        }
    }

    pub(super) fn is_exporter(&self) -> bool {
        self.kind == Kind::Exporter
    }

    /// What of a processor it needs to look each second at all processes with this name.
    pub(super) fn share(&self, name: &str, window: Duration) -> Result<f64> {
        match self.kind {
            Kind::Exporter => self.exporter(name, window),
            Kind::Netdata => self.netdata(window),
            Kind::Psutil => {
                let mut python = Command::new("python3");
                python.arg(script("psutil_peer.py")?).args([name, &window.as_secs().to_string()]);
                told(python.env("PYTHONPATH", self.tools.join("python")), "")
            }
            Kind::Pidusage => {
                let mut node = Command::new("node");
                node.arg(script("pidusage_peer.cjs")?);
                node.arg(self.tools.join("node_modules/pidusage"))
                    .arg(window.as_secs().to_string());
                let pids: Vec<String> = named(name)?.iter().map(ToString::to_string).collect();
                told(&mut node, &pids.join(" "))
            }
        }
    }

    fn exporter(&self, name: &str, window: Duration) -> Result<f64> {
        let mut command =
            Command::new(self.tools.join("debian/usr/bin/prometheus-process-exporter"));
        let listen = format!("-web.listen-address=127.0.0.1:{PORT}");
        let child = Ended::start(command.args([&listen, "-procnames", name, "-threads=false"]))?;
        let begun = Instant::now();
        while scrape().is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(20), "it doesn't answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        let page = scrape()?;
        let group = format!("namedprocess_namegroup_num_procs{{groupname=\"{name}\"}}");
        ensure!(page.contains(&group), "it tells nothing of {name}");
        child.used_while(window, |second| {
            scrape()?;
            std::thread::sleep(second);
            Ok(())
        })
    }

    fn netdata(&self, window: Duration) -> Result<f64> {
        let root = self.tools.join("debian");
        let mut command = Command::new(root.join("usr/lib/netdata/plugins.d/apps.plugin"));
        command.arg("1").env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
        command.env("NETDATA_STOCK_CONFIG_DIR", root.join("usr/lib/netdata/conf.d"));
        let child = Ended::start(&mut command)?;
        // Its first look is at everything.
        std::thread::sleep(Duration::from_secs(3));
        child.used_while(window, |second| {
            std::thread::sleep(second);
            Ok(())
        })
    }
}

/// A program that is ended when dropped.
struct Ended(Child);

impl Ended {
    fn start(command: &mut Command) -> Result<Self> {
        let text = sh::shown(command);
        // Netdata's ends when nobody holds its stdin.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("could not start `{text}`"))?))
    }

    fn used_while(
        mut self,
        window: Duration,
        each: impl Fn(Duration) -> Result<()>,
    ) -> Result<f64> {
        let pid = i32::try_from(self.0.id())?;
        let used = || -> Result<f64> { Ok(threads(pid)?.iter().map(|(_, used)| used).sum()) };
        let (since, before) = (Instant::now(), used()?);
        for second in 1..=u32::try_from(window.as_secs())? {
            let due = since + Duration::from_secs(1) * second;
            each(due.saturating_duration_since(Instant::now()))?;
        }
        let share = (used()? - before) / since.elapsed().as_secs_f64();
        ensure!(self.0.try_wait()?.is_none(), "it has ended by itself");
        Ok(share)
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn scrape() -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// Runs a peer that says how many it watched and what of a processor that took.
fn told(command: &mut Command, stdin: &str) -> Result<f64> {
    let text = sh::shown(command);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("it has a stdin")?.write_all(stdin.as_bytes())?;
    let out = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    let (found, share) = said.trim().split_once(' ').with_context(|| format!("`{text}` failed"))?;
    ensure!(found != "0", "it found nothing to watch");
    Ok(share.parse()?)
}

fn script(name: &str) -> Result<PathBuf> {
    Ok(build::root()?.join("bench/monitor").join(name))
}

fn debian(tools: &Path) -> Result<()> {
    let into = tools.join("debian");
    if into.join("usr/lib/netdata/plugins.d/apps.plugin").is_file() {
        return Ok(());
    }
    std::fs::create_dir_all(&into)?;
    sh::capture(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&into))?;
    for entry in std::fs::read_dir(&into)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            sh::capture(Command::new("dpkg").arg("-x").arg(&path).arg(&into))?;
        }
    }
    Ok(())
}

fn pip(tools: &Path) -> Result<()> {
    let into = tools.join("python");
    if into.join("psutil").is_dir() {
        return Ok(());
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(into).arg(PSUTIL);
    sh::capture(&mut pip).map(drop)
}

fn npm(tools: &Path) -> Result<()> {
    if tools.join("node_modules/pidusage").is_dir() {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(tools);
    sh::capture(npm.arg(PIDUSAGE)).map(drop)
}
