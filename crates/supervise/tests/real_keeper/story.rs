//! One story from start to end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use ganger_testkit::roles::SOCKET_ENV;

/// Nothing here takes longer on any machine that can run it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon as the test hears it.
struct Heard {
    lines: BufReader<UnixStream>,
    pid: i32,
    now: String,
    events: Vec<serde_json::Value>,
}

impl Heard {
    fn accept(listener: &UnixListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard =
            Self { lines: BufReader::new(stream), pid: 0, now: String::new(), events: vec![] };
        let first = heard.line().expect("it says its pid");
        heard.pid = first.strip_prefix("daemon ").unwrap().parse().unwrap();
        heard
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A daemon that was killed resets its connection.
        let read = self.lines.read_line(&mut line);
        if !read.is_ok_and(|n| n > 0) {
            return None;
        }
        let line = line.trim_end();
        if let Some(event) = line.strip_prefix("event ") {
            self.events.push(serde_json::from_str(event).unwrap());
        } else if let Some(now) = line.strip_prefix("now ") {
            now.clone_into(&mut self.now);
        }
        Some(line.to_owned())
    }

    fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            assert!(self.line().is_some(), "the daemon went before {what}; now: {}", self.now);
        }
    }

    fn until_line(&mut self, start: &str) -> String {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("the daemon went before `{start}`"));
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// State, pid and restarts of slot 1 of a service.
    fn view(&self, name: &str) -> Option<(String, i32, u32)> {
        let start = format!("{name}#1=");
        let text = self.now.split(' ').find_map(|view| view.strip_prefix(&start))?;
        let parts: Vec<&str> = text.split('/').collect();
        Some((parts[0].to_owned(), parts[1].parse().unwrap(), parts[2].parse().unwrap()))
    }

    fn is(&self, name: &str, state: &str) -> bool {
        self.view(name).is_some_and(|(word, ..)| word == state)
    }

    fn said(&self, kind: &str, name: &str, reason: &str) -> bool {
        self.events.iter().any(|event| {
            event["type"] == kind
                && event["name"] == name
                && event["reason"].as_str().unwrap().contains(reason)
        })
    }

    fn say(&mut self, command: &str) {
        writeln!(self.lines.get_mut(), "{command}").unwrap();
    }
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Waits for the first keeper also when the test fails: with the test's socket gone its next daemon brings all down.
struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.wait());
    }
}

pub(crate) fn nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("test.sock");
    // Bound before the keeper starts, dropped before the keeper is waited for.
    let bound = UnixListener::bind(&socket).unwrap();
    let keeper = Command::new(std::env::current_exe().unwrap())
        .args(["__keeper", "--state-dir"])
        .arg(dir.path().join("state"))
        .env(SOCKET_ENV, &socket)
        .spawn()
        .unwrap();
    let mut keeper = Keeper(keeper);
    let listener = bound;

    let mut first = Heard::accept(&listener);
    first.until("all is up", |d| {
        ["said", "web", "rude"].iter().all(|name| d.is(name, "running"))
            && d.is("missing", "backoff")
            && d.is("loud", "failed")
            && d.said("instance.exit", "loud", "the end is near")
    });
    assert!(first.said(
        "instance.exit",
        "loud",
        "exited with code 3; last lines of stderr:\nfirst"
    ));
    assert!(first.said("instance.state", "missing", "can't start /no/such/program: execve"));
    assert!(first.said("instance.ready", "said", ""));
    let (_, web, _) = first.view("web").unwrap();
    let (_, rude, _) = first.view("rude").unwrap();

    // A crash: replaced at once, and told.
    kill(web);
    first.until("web is replaced", |d| {
        d.view("web").is_some_and(|(state, pid, n)| state == "running" && pid != web && n == 1)
            && d.said("instance.exit", "web", "killed by SIGKILL")
    });
    let (_, web, _) = first.view("web").unwrap();

    // The daemon's death: nobody notices.
    kill(first.pid);
    let mut second = Heard::accept(&listener);
    second.until("all is taken over", |d| {
        d.view("web") == Some(("running".into(), web, 1))
            && d.view("rude") == Some(("running".into(), rude, 0))
            && d.is("said", "running")
    });
    second.say("stop rude");
    second.until("rude is ended by force", |d| {
        d.is("rude", "stopped") && d.said("instance.exit", "rude", "killed by SIGKILL from ganger")
    });

    // The keeper's death: a new one takes over, a new daemon goes on.
    keeper.0.kill().unwrap();
    keeper.0.wait().unwrap();
    let line = second.until_line("keeper ");
    let pid: i32 = line.split(' ').nth(1).unwrap().parse().unwrap();
    let watch = rustix::process::pidfd_open(
        Pid::from_raw(pid).unwrap(),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    let mut third = Heard::accept(&listener);
    assert_eq!(second.until_line("taken over"), "taken over Ok(())");
    third.until("web is adopted", |d| d.view("web") == Some(("running".into(), web, 1)));
    third.say("stop web");
    third.until("web is stopped", |d| d.is("web", "stopped"));
    third.say("down");
    third.until("all is down", |d| d.now.split(' ').all(|view| view.contains("/0/")));
    let limit = rustix::time::Timespec { tv_sec: 60, tv_nsec: 0 };
    let mut waits = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
    let ended = rustix::event::poll(&mut waits, Some(&limit)).unwrap();
    assert_eq!(ended, 1, "the keeper goes when all is down");
}
