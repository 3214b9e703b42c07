//! Sockets that ganger holds: no connection is refused while what serves them comes and goes.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::Process;

use crate::{SOON, address, folder};

/// Answers each connection, or datagram, with its pid; ends in order on SIGTERM, and with code 0 after `ONCE` connections.
const SERVER: &str = r#"
import os, select, signal, socket
assert os.environ["LISTEN_PID"] == str(os.getpid())
count = int(os.environ["LISTEN_FDS"])
names = os.environ["LISTEN_FDNAMES"].split(":")
assert len(names) == count
socks = [socket.socket(fileno=3 + i) for i in range(count)]
for s in socks:
    s.setblocking(False)
wake, wakes = os.pipe()
os.set_blocking(wakes, False)
signal.set_wakeup_fd(wakes)
signal.signal(signal.SIGTERM, lambda *_: None)
print("serving", *names, flush=True)
left = int(os.environ.get("ONCE", "-1"))
while left != 0:
    ready, _, _ = select.select(socks + [wake], [], [])
    if wake in ready:
        break
    for s in ready:
        try:
            if s.type == socket.SOCK_DGRAM:
                _, who = s.recvfrom(100)
                s.sendto(b"%d" % os.getpid(), who)
                continue
            c, _ = s.accept()
        except BlockingIOError:
            continue
        try:
            c.sendall(b"%d" % os.getpid())
        except OSError:
            pass
        c.close()
        left -= 1
"#;

/// A folder with the server and this configuration, up and ready.
fn up(config: &str) -> TempDaemon {
    let it = folder();
    it.write("server.py", SERVER);
    it.write("ganger.toml", config);
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    it
}

/// The pid of who answers.
fn answer(mut stream: impl Read) -> io::Result<u32> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.parse().map_err(|_| io::Error::other(format!("an answer {text:?}")))
}

fn ask(address: &str) -> io::Result<u32> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    answer(stream)
}

fn port_of_nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Connects again and again while `work` goes on; gives how often it was answered. A refused connection fails the test;
/// one that a killed process had in its hands may break.
fn under_load(address: &str, work: impl FnOnce(&AtomicU32)) -> u32 {
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                match ask(address) {
                    Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        return Err(error);
                    }
                    Err(_) => {}
                }
            }
            Ok(())
        });
        work(&answered);
        over.store(true, Ordering::Relaxed);
        client.join().expect("a client that ends").expect("no connection is refused");
    });
    answered.load(Ordering::Relaxed)
}

const WEB: &str = r#"
version = 1
[service.web]
command = ["python3", "server.py"]
listen = "tcp://127.0.0.1:0"
ready = { log = "serving web" }
restart = { backoff = "10ms" }
"#;

#[test]
fn no_connection_is_refused_while_service_and_daemon_are_killed_and_restarted() {
    needs_python!();
    let it = up(WEB);
    let at = address(&it, "web", 0);
    let answered = under_load(&at, |_| {
        let _ = it.ganger(&["restart", "web"]).with_code(0);
        let old = Process::open(it.pid("web", 1)).unwrap();
        let mut events = it.follow(&["events", "-f", "--json"]);
        old.kill();
        assert!(old.ended_within(SOON));
        events.until("ready again", SOON, |l| l.contains("instance.ready"));
        let daemon = Process::open(it.pid_of("daemon")).unwrap();
        daemon.kill();
        assert!(daemon.ended_within(SOON));
        let _ = it.ganger(&["restart", "web"]).with_code(0);
        let both = ["keeper", "daemon"].map(|who| Process::open(it.pid_of(who)).unwrap());
        both[0].kill();
        assert!(both.iter().all(|process| process.ended_within(SOON)));
        let _ = it.ganger(&["restart", "web"]).with_code(0);
    });
    assert!(answered > 0);
    assert_eq!(address(&it, "web", 0), at, "the port stays, though the kernel chose it");
    assert_eq!(ask(&at).unwrap(), it.pid("web", 1));
    let _ = it.ganger(&["down"]).with_code(0);
    assert_eq!(ask(&at).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn unix_sockets_with_long_paths_and_udp_are_inherited_with_their_names() {
    needs_python!();
    let deep = "d".repeat(120);
    let it = folder();
    it.write("server.py", SERVER);
    it.write(&format!("{deep}/kept"), "");
    let config = format!(
        r#"
version = 1
[service.web]
command = ["python3", "server.py"]
replicas = 2
listen = [{{ address = "unix://{deep}/s", mode = "0640", name = "long" }}, {{ address = "udp://127.0.0.1:0", name = "dgram" }}]
ready = {{ log = "serving long dgram" }}
"#
    );
    it.write("ganger.toml", &config);
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    let pids = [it.pid("web", 1), it.pid("web", 2)];
    let dir = std::fs::File::open(it.path().join(&deep)).unwrap();
    use std::os::fd::AsRawFd;
    let short = format!("/proc/self/fd/{}/s", dir.as_raw_fd());
    assert!(pids.contains(&answer(UnixStream::connect(&short).unwrap()).unwrap()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.send_to(b"who", address(&it, "web", 1)).unwrap();
    let mut buffer = [0; 100];
    let got = socket.recv(&mut buffer).unwrap();
    let pid: u32 = std::str::from_utf8(&buffer[..got]).unwrap().parse().unwrap();
    assert!(pids.contains(&pid));

    // What the configuration drops is closed, and its file goes.
    let path = it.path().join(&deep).join("s");
    assert!(path.exists());
    it.write("ganger.toml", "version = 1\n[service.web]\ncommand = [\"sleep\", \"1000\"]\n");
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    assert!(!path.exists());
}

#[test]
fn the_channel_stands_above_the_sockets_and_the_pid_is_the_programs() {
    let it = up(r#"
version = 1
[service.web]
shell = 'test "$LISTEN_PID:$LISTEN_FDS:$LISTEN_FDNAMES:$GANGER_CHANNEL_FD:$NODE_CHANNEL_FD" = "$$:2:a:web:5:5" && echo "\"ready\"" >&5; exec sleep 1000'
listen = [{ address = "tcp://127.0.0.1:0", name = "a" }, "tcp://127.0.0.1:0"]
ready = { channel = true }
"#);
    assert_eq!(it.instance("web", 1)["ready"], true);
}

#[test]
fn a_taken_port_fails_its_service_only_and_keeps_no_running_one_from_serving() {
    needs_python!();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let it = up(WEB);
    let at = address(&it, "web", 0);
    let other = format!(
        "{WEB}\n[service.late]\ncommand = [\"python3\", \"server.py\"]\nlisten = \"tcp://127.0.0.1:{port}\"\nrestart = {{ backoff = \"10m\" }}\n"
    );
    it.write("ganger.toml", &other);
    let mut events = it.follow(&["events", "-f", "--json"]);
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    events.until("no port", SOON, |l| l.contains("\"to\":\"backoff\"") && l.contains("late"));
    let late = it.instance("late", 1);
    let holder = format!("127.0.0.1:{port} is taken by pid {} (", std::process::id());
    assert!(late["reason"].as_str().unwrap().contains(&holder), "{late}");
    assert_eq!(ask(&at).unwrap(), it.pid("web", 1));

    // A running service that can't have its new address keeps the old one, and nothing else is applied.
    let moved = WEB.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    it.write("ganger.toml", &moved);
    let said = it.ganger(&["up", "-d"]).with_code(3);
    assert!(said.err.contains(&holder), "{}", said.err);
    assert_eq!(ask(&at).unwrap(), it.pid("web", 1));
    assert_eq!(it.instance("late", 1)["state"], "backoff");

    drop(taken);
    let _ = it.ganger(&["start", "late"]).with_code(0);
    assert_eq!(ask(&format!("127.0.0.1:{port}")).unwrap(), it.pid("late", 1));
}

#[test]
fn what_starts_on_demand_and_has_no_address_is_not_waited_for() {
    let it = folder();
    it.write(
        "ganger.toml",
        "version = 1\n[service.lazy]\ncommand = [\"sleep\", \"1000\"]\nlisten = \"unix://ganger.toml\"\nstart = \"on-demand\"\n",
    );
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let mut events = it.follow(&["events", "-f", "--json"]);
    let told = events.until("the reason", SOON, |l| l.contains("\"to\":\"backoff\""));
    assert!(told.contains("something that is no socket is in the way"), "{told}");
}

#[test]
fn a_service_moves_to_another_port() {
    needs_python!();
    let it = up(WEB);
    let old = address(&it, "web", 0);
    let port = port_of_nobody();
    it.write("ganger.toml", &WEB.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
    assert_eq!(ask(&format!("127.0.0.1:{port}")).unwrap(), it.pid("web", 1));
    assert_eq!(ask(&old).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn the_first_connection_starts_it_again_and_again() {
    needs_python!();
    let it = up(r#"
version = 1
[service.lazy]
command = ["python3", "server.py"]
listen = "tcp://127.0.0.1:0"
start = "on-demand"
env = { ONCE = 2 }
[service.needs]
command = ["sleep", "1000"]
depends_on = ["lazy"]
"#);
    let dozes = it.instance("lazy", 1);
    assert_eq!((dozes["state"].as_str(), dozes["pid"].as_u64()), (Some("stopped"), None));
    assert!(dozes["reason"].as_str().unwrap().contains("first connection"), "{dozes}");
    assert_eq!(it.instance("needs", 1)["state"], "running");
    let at = address(&it, "lazy", 0);
    let first = ask(&at).unwrap();
    assert_eq!(it.pid("lazy", 1), first);
    // Another daemon goes on where this one was: it runs, and dozes when it has ended.
    let daemon = Process::open(it.pid_of("daemon")).unwrap();
    daemon.kill();
    assert!(daemon.ended_within(SOON));
    assert_eq!(ask(&at).unwrap(), first);
    let mut events = it.follow(&["events", "-f", "--json"]);
    events.until("its end", SOON, |l| l.contains("\"to\":\"stopped\"") && l.contains("lazy"));
    let daemon = Process::open(it.pid_of("daemon")).unwrap();
    daemon.kill();
    assert!(daemon.ended_within(SOON));
    let second = ask(&at).unwrap();
    assert_ne!(second, first);
    // A person's word: it runs no more, and connections wait for a `start`.
    let _ = it.ganger(&["stop", "lazy"]).with_code(0);
    let waits = TcpStream::connect(&at).unwrap();
    waits.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(it.instance("lazy", 1)["state"], "stopped");
    let _ = it.ganger(&["start", "lazy"]).with_code(0);
    assert_eq!(answer(waits).unwrap(), it.pid("lazy", 1));
}

#[test]
fn reuseport_deals_to_slots_that_are_up() {
    needs_python!();
    let it = up(&WEB.replace("ready", "listen_mode = \"reuseport\"\nreplicas = 3\nready"));
    let ats = [0, 1, 2].map(|at| address(&it, "web", at));
    assert!(ats.iter().all(|at| *at == ats[0]), "{ats:?}");
    let pids = [1, 2, 3].map(|slot| it.pid("web", slot));
    let by = || (0..60).map(|_| ask(&ats[0]).unwrap()).collect::<std::collections::BTreeSet<u32>>();
    assert_eq!(by(), pids.into());
    let _ = it.ganger(&["stop", "web#2"]).with_code(0);
    assert_eq!(by(), [pids[0], pids[2]].into());
    // The sockets are one service's, whatever the mode: changing it refuses nobody.
    it.write("ganger.toml", &WEB.replace("ready", "replicas = 3\nready"));
    let answered = under_load(&ats[0], |answered| {
        let _ = it.ganger(&["up", "-d", "--wait"]).with_code(0);
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) == before {
            std::thread::yield_now();
        }
    });
    assert!(answered > 0);
    assert!([1, 2, 3].map(|slot| it.pid("web", slot)).contains(&ask(&ats[0]).unwrap()));
}
