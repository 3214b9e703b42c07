//! Rolling reloads under load: no request fails, whatever the new version does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::Process;

use crate::{SOON, address, folder, pipe};

/// Answers with its version; doesn't care about signals. "dies" ends a while after it is ready, "never" gets never ready.
const SERVER: &str = r#"
import os, socket, threading
version = os.environ["VERSION"]
s = socket.socket(fileno=3)
if version == "never":
    threading.Event().wait()
print("serving", flush=True)
if version == "dies":
    threading.Timer(0.2, lambda: os._exit(3)).start()
while True:
    c, _ = s.accept()
    c.recv(100)
    c.sendall(version.encode())
    c.close()
"#;

fn configure(it: &TempDaemon, version: &str, healthy_for: &str) {
    let config = format!(
        r#"
version = 1
[service.web]
command = ["python3", "server.py"]
replicas = 2
listen = "tcp://127.0.0.1:0"
listen_mode = "reuseport"
ready = {{ log = "serving", timeout = "{}" }}
env = {{ VERSION = "{version}" }}
reload = {{ healthy_for = "{healthy_for}" }}
"#,
        if version == "never" { "1s" } else { "60s" }
    );
    it.write("ganger.toml", &config);
}

fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"who")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Asks again and again while `work` goes on; each must be answered. Gives how many were. One client has the server busy; more of
/// them only leave the kernel more connections that are over.
fn under_load(address: &str, work: impl FnOnce()) -> u32 {
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let text = ask(address).expect("every request is answered");
                assert!(!text.is_empty(), "an answer broke off");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        client.join().expect("no request fails");
        worked.expect("what went on under load went well");
    });
    answered.load(Ordering::Relaxed)
}

#[test]
fn reloads_lose_no_request_and_bad_versions_go_back() {
    needs_python!();
    let it = folder();
    it.write("server.py", SERVER);
    configure(&it, "one", "100ms");
    let _ = it.ganger(&["up", "-d", "--wait=60s"]).with_code(0);
    let address = &address(&it, "web", 0);
    let old = [it.pid("web", 1), it.pid("web", 2)];
    let answered = under_load(address, || {
        let _ = it.ganger(&["reload", "web"]).with_code(0);
    });
    assert!(answered > 0);
    let kept = [it.pid("web", 1), it.pid("web", 2)];
    assert!(old.iter().all(|pid| !kept.contains(pid)), "{old:?} {kept:?}");

    for (version, why) in [("dies", "exited with code 3"), ("never", "not ready after 1s")] {
        let _ = under_load(address, || {
            configure(&it, version, "1h");
            let said = it.ganger(&["up", "-d", "--wait=60s"]).with_code(1);
            assert!(said.err.contains("the old version runs on"), "{said:?}");
            assert!(said.err.contains(why), "{said:?}");
        });
        assert_eq!([it.pid("web", 1), it.pid("web", 2)], kept, "nobody touched them");
        assert_eq!(ask(address).unwrap(), "one");
    }

    let _ = under_load(address, || {
        configure(&it, "two", "100ms");
        let _ = it.ganger(&["up", "-d", "--wait=60s"]).with_code(0);
    });
    assert_eq!(ask(address).unwrap(), "two");
    let _ = it.ganger(&["down"]).with_code(0);
}

/// As [`SERVER`], but all instances of version "two" but the first wait for the other end of a pipe before they serve.
const GATED: &str = r#"
import os
if os.environ["VERSION"] == "two":
    try:
        os.close(os.open("first", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        os.open("gate", os.O_RDONLY)
exec(open("server.py").read())
"#;

#[test]
fn a_daemon_that_dies_in_the_middle_of_a_reload_leaves_it_to_the_next() {
    needs_python!();
    let it = folder();
    it.write("server.py", SERVER);
    it.write("gated.py", GATED);
    let gate = pipe(&it, "gate");
    let gated = |version| {
        configure(&it, version, "100ms");
        let config = std::fs::read_to_string(it.path().join("ganger.toml")).unwrap();
        it.write("ganger.toml", &config.replace("server.py", "gated.py"));
    };
    gated("one");
    let _ = it.ganger(&["up", "-d", "--wait=60s"]).with_code(0);
    let address = &address(&it, "web", 0);
    let second = it.pid("web", 2);
    gated("two");
    let _ = under_load(address, || {
        let mut events = it.follow(&["events", "-f", "--json"]);
        let _ = it.ganger(&["up", "-d"]).with_code(0);
        // One stands in; the first slot's old instance is gone and its new one is not ready.
        let is_out = |l: &str| l.contains("instance.exit") && l.contains("\"slot\":1");
        let _ = events.until("the first slot is out", SOON, is_out);
        let stands_in = it.pid("web", 3);
        let daemon = Process::open(it.pid_of("daemon")).expect("the daemon is there");
        daemon.kill();
        assert!(daemon.ended_within(SOON));

        let mut events = it.follow(&["events", "-f", "--json"]);
        let _ = events.until("the next daemon", SOON, |l| l.contains("\"goes on\""));
        assert_eq!((it.pid("web", 3), it.pid("web", 2)), (stands_in, second));
        let ps = it.ganger(&["ps", "web", "--json"]).with_code(0).json();
        let slots: Vec<_> =
            ps["instances"].as_array().unwrap().iter().map(|i| &i["slot"]).collect();
        assert_eq!(slots, [1, 2, 3], "one stands in, and no more");
        let _open = std::fs::OpenOptions::new().write(true).open(&gate).unwrap();
        let _ = it.ganger(&["wait", "service:web=reloaded", "--timeout=60s"]).with_code(0);
        let stood_in = Process::open(stands_in);
        assert!(stood_in.is_none_or(|process| process.ended_within(SOON)));
    });
    let ps = it.ganger(&["ps", "web", "--json"]).with_code(0).json();
    assert_eq!(ps["instances"].as_array().map(Vec::len), Some(2), "{ps}");
    assert!((0..8).all(|_| ask(address).unwrap() == "two"));
    let _ = it.ganger(&["down"]).with_code(0);
}
