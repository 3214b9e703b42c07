//! Opening against the real kernel.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

use super::*;

fn socket(text: &str) -> Socket {
    Socket { address: text.parse().unwrap(), name: "s".into(), mode: 0o600, owner: None }
}

fn refusal(text: &str) -> String {
    open(&socket(text), false).unwrap_err().to_string()
}

#[test]
fn a_port_of_the_kernels_choice_takes_connections() {
    for text in ["tcp://127.0.0.1:0", "tcp://:0"] {
        let spec = socket(text);
        let opened = open(&spec, false).unwrap();
        let place = real(&spec.address, &opened.fd).place().unwrap();
        assert_ne!(place.port, 0);
        TcpStream::connect(("127.0.0.1", place.port)).unwrap();
    }
}

#[test]
fn udp_is_bound_and_shared_ports_can_be_opened_again() {
    let spec = socket("udp://127.0.0.1:0");
    let opened = open(&spec, false).unwrap();
    assert_ne!(real(&spec.address, &opened.fd).place().unwrap().port, 0);
    let first = open(&socket("tcp://127.0.0.1:0"), true).unwrap();
    let text = real(&"tcp://127.0.0.1:0".parse().unwrap(), &first.fd).to_string();
    open(&socket(&text), true).unwrap();
}

#[test]
fn a_taken_port_is_told_with_its_holder() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp://{}", other.local_addr().unwrap());
    let why = refusal(&text);
    assert!(why.starts_with(&format!("{text} is taken by ")), "{why}");
    assert!(refusal("tcp://203.0.113.7:3000").contains("no such address"));
}

#[test]
fn unix_sockets_have_their_permissions_and_leave_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let deep = temp.path().join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    for path in [temp.path().join("web.sock"), deep.join("web.sock")] {
        let spec = Socket { mode: 0o660, ..socket(&format!("unix://{}", path.display())) };
        let opened = open(&spec, false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(refusal(&spec.address.to_string()).contains("is taken"));
        drop(opened.fd);
        // Its listener is dead: the next takes its place.
        let again = open(&spec, false).unwrap();
        assert!(path.exists());
        again.file.unwrap().remove();
        assert!(!path.exists());
    }
}

#[test]
fn what_is_not_ours_stays() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("web.sock");
    let text = format!("unix://{}", path.display());
    fs::write(&path, "a letter").unwrap();
    assert!(refusal(&text).contains("no socket is in the way"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
    fs::remove_file(&path).unwrap();
    let opened = open(&socket(&text), false).unwrap();
    fs::remove_file(&path).unwrap();
    let theirs = UnixListener::bind(&path).unwrap();
    opened.file.unwrap().remove();
    assert!(path.exists());
    drop(theirs);
    let long = temp.path().join("n".repeat(120));
    let why = refusal(&format!("unix://{}", long.display()));
    assert!(why.contains("name has 120 bytes, and at most"), "{why}");
    let nowhere = temp.path().join("no/web.sock");
    assert!(refusal(&format!("unix://{}", nowhere.display())).contains("there is no folder"));
}
