//! Connections that ganger hands over: to programs of Node's `cluster` module, and to a worker of thirty lines.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::Process;

use crate::{SOON, address, folder};

/// Answers with its pid, as a server of any program would: nothing in it knows who its primary is.
const CLUSTER: &str = r#"
const cluster = require('cluster');
if (!cluster.isWorker) process.exit(3);
require('net').createServer((client) => {
  client.once('data', () => client.end(String(process.pid)));
}).listen(0, '127.0.0.1');
"#;
/// The worker of docs/pass.md.
const WORKER: &str = include_str!("../fixtures/pass_worker.py");

fn ask(address: &str) -> io::Result<u32> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"who?")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.parse().map_err(|_| io::Error::other(format!("an answer {text:?}")))
}

/// Asks again and again while `work` goes on; gives how many were answered and how many not.
fn under_load(address: &str, work: impl FnOnce()) -> (u32, u32) {
    let (over, answered, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let count = if ask(address).is_ok() { &answered } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        worked.expect("what went on under load went well");
    });
    (answered.into_inner(), failed.into_inner())
}

fn kill_daemon(it: &TempDaemon) {
    let daemon = Process::open(it.pid_of("daemon")).expect("the daemon is there");
    daemon.kill();
    assert!(daemon.ended_within(SOON));
}

/// Both workers answer, keep their pids through the death of a daemon, and are replaced by a reload, and no request is lost but the
/// one that the dead daemon may have had in its hands.
fn survives_and_reloads(it: &TempDaemon) {
    let at = address(it, "web", 0);
    let pids = [1, 2].map(|slot| it.pid("web", slot));
    let both =
        || (0..10).map(|_| ask(&at).expect("an answer")).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(both(), pids.into(), "they take turns");
    let (answered, failed) = under_load(&at, || {
        kill_daemon(it);
        assert_eq!([1, 2].map(|slot| it.pid("web", slot)), pids);
        let _ = it.ganger(&["reload", "web"]).with_code(0);
    });
    assert!(answered > 0 && failed <= 1, "{answered} answered, {failed} not");
    assert_eq!(address(it, "web", 0), at);
    let new = [1, 2].map(|slot| it.pid("web", slot));
    assert!(new.iter().all(|pid| !pids.contains(pid)));
    assert_eq!(both(), new.into());
    let ps = it.ganger(&["ps", "web", "--json"]).with_code(0).json();
    let taken = |at: usize| ps["instances"][at]["connections"]["taken"].as_u64().expect("a count");
    assert!(taken(0) >= 5 && taken(1) >= 5, "{ps}");
}

#[test]
fn a_program_of_nodes_cluster_module_outlives_the_daemon_and_is_reloaded() {
    if !std::process::Command::new("node")
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success())
    {
        println!("skipped: node is not installed");
        return;
    }
    let it = folder();
    it.write("server.js", CLUSTER);
    it.write(
        "ganger.toml",
        "version = 1\n[service.web]\ncommand = [\"node\", \"server.js\"]\nnode_cluster = true\nreplicas = 2\nreload = { healthy_for = \"100ms\" }\n",
    );
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    survives_and_reloads(&it);
    // It drains by itself: nothing has to be killed, and the port is closed at the end.
    let at = address(&it, "web", 0);
    let mut events = it.follow(&["events", "-f", "--json"]);
    let _ = it.ganger(&["stop", "web"]).with_code(0);
    let told = events.until("its end", SOON, |l| l.contains("instance.exit"));
    assert!(told.contains("exited with code 0"), "{told}");
    let _ = it.ganger(&["down"]).with_code(0);
    assert_eq!(ask(&at).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_worker_of_thirty_lines_gets_connections_too() {
    needs_python!();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pass.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    assert!(docs.contains(WORKER), "docs/pass.md shows another worker than the one that is tested");
    let it = folder();
    it.write("worker.py", WORKER);
    it.write(
        "ganger.toml",
        "version = 1\n[service.web]\ncommand = [\"python3\", \"worker.py\"]\nlisten = \"tcp://127.0.0.1:0\"\nlisten_mode = \"pass\"\nready = { channel = true }\nreplicas = 2\nreload = { healthy_for = \"100ms\" }\n",
    );
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    survives_and_reloads(&it);
}
