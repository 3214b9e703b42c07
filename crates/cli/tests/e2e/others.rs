//! Other users: a socket of their own, which serves commands under the policies that are for them.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Uid;

use crate::{SOON, folder};

const CONFIG: &str = r#"
version = 1
[server]
exec_socket = { path = "SOCKET" }
[policy.theirs]
program = "/bin/echo"
args = ["hello"]
dashes = false
sandbox = "none"
who = { uids = [4242] }
[policy.ours]
program = "/bin/true"
sandbox = "none"
"#;

/// One request of user 4242, and the whole answer. The kernel takes a connection's user from the thread that made it.
fn asked(socket: &Path, request: &str, body: &str) -> std::io::Result<String> {
    let (socket, request, body) = (PathBuf::from(socket), request.to_owned(), body.to_owned());
    let theirs = std::thread::spawn(move || {
        let uid = Uid::from_raw(4242);
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        let mut stream = UnixStream::connect(socket)?;
        let length = body.len();
        write!(
            stream,
            "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    theirs.join().expect("it returns")
}

#[test]
fn another_user_may_what_policies_allow_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: being another user takes root");
    }
    let it = folder();
    // Nobody else may write to it or above it.
    let run = tempfile::Builder::new().prefix("ganger-others-").tempdir_in("/run").unwrap();
    std::fs::set_permissions(run.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let socket = run.path().join("exec.sock");
    it.write("ganger.toml", &CONFIG.replace("SOCKET", socket.to_str().unwrap()));
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let mut events = it.follow(&["events", "-f", "--json"]);
    let bound = |line: &str| line.contains("\"type\":\"daemon.exec_socket\"");
    events.until("the socket", SOON, bound);

    let exec = |policy: &str, body: &str| {
        asked(&socket, &format!("POST /api/v1/exec/{policy}"), body).unwrap()
    };
    let said = exec("theirs", r#"{"args":["hello"]}"#);
    assert!(said.starts_with("HTTP/1.1 200") && said.contains(r#""stdout":"hello\n""#), "{said}");
    let denied = exec("ours", r#"{"args":[]}"#);
    let unknown = exec("nothing", r#"{"args":[]}"#);
    let code = |answer: &str| answer.contains(r#""code":"not_allowed""#);
    assert!(denied.starts_with("HTTP/1.1 403") && code(&denied) && code(&unknown), "{denied}");
    assert!(exec("theirs", "{").starts_with("HTTP/1.1 403"));
    for route in ["GET /api/v1/status", "POST /api/v1/down", "GET /metrics"] {
        let answer = asked(&socket, route, "").unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{route}: {answer}");
    }
    // The daemon's own user asks here too, for commands and nothing else.
    let path = socket.to_str().unwrap();
    let _ = it.ganger(&["exec", "--socket", path, "ours"]).with_code(0);
    // The API's own socket is out of reach.
    let api = it.state_dir().join("ganger.sock");
    assert!(asked(&api, "GET /api/v1/status", "").is_err());

    let log = it.ganger(&["audit", "export", "--format", "jsonl"]).with_code(0).out;
    let theirs = |event: &str| {
        let event = format!("\"event\":\"{event}\"");
        log.lines().filter(|line| line.contains(&event) && line.contains("\"uid\":4242")).count()
    };
    assert_eq!((theirs("denied"), theirs("intent"), theirs("outcome")), (3, 1, 1), "{log}");
    let _ = it.ganger(&["down"]).with_code(0);
    assert!(!socket.exists());
}
