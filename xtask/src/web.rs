//! A web service of Node workers in each mode that connections can come to them, and the load on it: for benchmarks and torture.

mod load;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ganger::Ganger;
pub(crate) use load::{Load, Seen, ask};

/// Answers each request with its pid. As its own primary, it forks its workers.
const SERVER: &str = r#"
const cluster = require('cluster');
const { PORT, WORKERS } = process.env;
if (WORKERS && cluster.isPrimary) {
  for (let n = 0; n < Number(WORKERS); n++) cluster.fork();
} else {
  const pid = String(process.pid);
  const server = require('http').createServer((request, response) => {
    response.writeHead(200, { connection: 'close', 'content-length': pid.length });
    response.end(pid);
  });
  const where = process.env.LISTEN_FDS ? { fd: 3 } : { port: Number(PORT), host: '127.0.0.1' };
  server.listen(where, () => console.log('serving'));
}
"#;

/// The name of the service, and the file of its program.
pub(crate) const SERVICE: &str = "web";
const FILE: &str = "server.js";
/// Workers must answer within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who accepts connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// ganger, as the primary of an unmodified `cluster` program.
    Cluster,
    /// All workers, from one socket.
    Inherit,
    /// Each worker, from its own.
    Reuseport,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Cluster, Self::Inherit, Self::Reuseport];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "node_cluster",
            Self::Inherit => "inherit",
            Self::Reuseport => "reuseport",
        }
    }

    /// The section of the service.
    pub(crate) fn section(self, workers: u32, address: SocketAddr) -> String {
        let how = match self {
            Self::Cluster => {
                format!("node_cluster = true\nenv = {{ PORT = \"{}\" }}", address.port())
            }
            Self::Inherit | Self::Reuseport => format!(
                "listen = \"tcp://{address}\"\nlisten_mode = \"{}\"\nready = {{ log = \"serving\" }}",
                self.name()
            ),
        };
        format!(
            "[service.{SERVICE}]\ncommand = [\"node\", \"{FILE}\"]\nreplicas = {workers}\n{how}\n"
        )
    }
}

/// Writes the program into a folder.
pub(crate) fn program(folder: &Path) -> Result<std::path::PathBuf> {
    let path = folder.join(FILE);
    std::fs::write(&path, SERVER).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

/// A port that nobody has now.
pub(crate) fn free_port() -> Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(socket.local_addr()?)
}

/// Starts a folder's services and waits until the web service answers.
pub(crate) fn up(ganger: &Ganger, address: SocketAddr) -> Result<()> {
    ganger.up()?;
    ganger.wait(&[&format!("service:{SERVICE}=ready")], "60s")?;
    answers(address)
}

/// Waits until something answers there.
pub(crate) fn answers(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = ask(address) {
        if Instant::now() > deadline {
            bail!("{address} does not answer after {PATIENCE:?}: {error}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
