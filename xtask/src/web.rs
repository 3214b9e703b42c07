//! A web service of Node workers in each mode that connections can come to them, and the load on it: for benchmarks and torture.

mod load;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ganger::Ganger;
pub(crate) use load::{Fault, Load, Running, Seen};

/// Answers each request with its pid. As its own primary, it forks its workers. With LOG it writes a numbered line for each request, with
/// PASS it takes connections that come over its channel. With BARE it reads no HTTP: then a connection costs little but its way to the worker.
const SERVER: &str = r#"
const cluster = require('cluster');
const { PORT, WORKERS, LOG, PASS, BARE } = process.env;
if (WORKERS && cluster.isPrimary) {
  for (let n = 0; n < Number(WORKERS); n++) cluster.fork();
} else {
  const pid = String(process.pid);
  let n = 0;
  const bare = (socket) => socket.on('error', () => {}).once('data', () => socket.end(`HTTP/1.1 200 OK\r\n\r\n${pid}`));
  const server = BARE ? require('net').createServer(bare) : require('http').createServer((request, response) => {
    if (LOG) console.log(`run=${pid} n=${++n}`);
    response.writeHead(200, { connection: 'close', 'content-length': pid.length });
    response.end(pid);
  });
  const serving = () => console.log(LOG ? `serving run=${pid} n=0` : 'serving');
  if (PASS) {
    process.on('message', (message, socket) => socket && server.emit('connection', socket));
    serving();
    process.send('ready');
  } else {
    server.listen(process.env.LISTEN_FDS ? { fd: 3 } : { port: Number(PORT), host: '127.0.0.1' }, serving);
  }
}
"#;

/// The name of the service, and the file of its program.
pub(crate) const SERVICE: &str = "web";
const FILE: &str = "server.js";
/// Workers must answer within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of one request: whoever has no answer by then has none.
const ANSWER: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// Who accepts connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// ganger, as the primary of an unmodified `cluster` program.
    Cluster,
    /// ganger, for a program that knows nothing of `cluster`.
    Pass,
    /// All workers, from one socket.
    Inherit,
    /// Each worker, from its own.
    Reuseport,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Cluster, Self::Pass, Self::Inherit, Self::Reuseport];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "node_cluster",
            Self::Pass => "pass",
            Self::Inherit => "inherit",
            Self::Reuseport => "reuseport",
        }
    }

    /// ganger has each connection in its hands for a moment.
    pub(crate) const fn accepts(self) -> bool {
        matches!(self, Self::Cluster | Self::Pass)
    }

    /// The section of the service, with these variables of the program set.
    pub(crate) fn section(self, workers: u32, address: SocketAddr, set: &[&str]) -> String {
        let mode = self.name();
        let listen = format!("listen = \"tcp://{address}\"\nlisten_mode = \"{mode}\"");
        let how = match self {
            Self::Cluster => "node_cluster = true".to_owned(),
            Self::Pass => format!("{listen}\nready = {{ channel = true }}"),
            Self::Inherit | Self::Reuseport => {
                format!("{listen}\nready = {{ log = \"serving\" }}")
            }
        };
        let mut env = vec![];
        if self == Self::Cluster {
            env.push(format!("PORT = \"{}\"", address.port()));
        }
        let pass = (self == Self::Pass).then_some("PASS");
        env.extend(set.iter().copied().chain(pass).map(|name| format!("{name} = \"1\"")));
        let env = env.join(", ");
        format!(
            "[service.{SERVICE}]\ncommand = [\"node\", \"{FILE}\"]\nreplicas = {workers}\n{how}\nenv = {{ {env} }}\n"
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

/// One request on a connection of its own: the body of the answer, which is who gave it.
pub(crate) fn ask(address: SocketAddr) -> io::Result<String> {
    let step =
        |what: &'static str| move |e: io::Error| io::Error::new(e.kind(), format!("{what}: {e}"));
    let mut stream = TcpStream::connect(address).map_err(step("connect"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(REQUEST).map_err(step("write"))?;
    let mut answer = Vec::with_capacity(512);
    stream.read_to_end(&mut answer).map_err(step("read"))?;
    let text = String::from_utf8_lossy(&answer);
    match text.rsplit_once("\r\n\r\n") {
        Some((_, body)) if !body.is_empty() => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("an answer of {} bytes", answer.len()))),
    }
}

/// The busiest of so many workers beside their mean.
pub(crate) fn max_over_mean(by: &BTreeMap<String, u64>, workers: u32) -> f64 {
    let most = by.values().max().copied().unwrap_or(0) as f64;
    most / (by.values().sum::<u64>() as f64 / f64::from(workers))
}
