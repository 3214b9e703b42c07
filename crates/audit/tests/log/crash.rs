//! A writer killed at any point loses no acknowledged record. `GANGER_KILLS=200` kills more often.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use ganger_audit::{Filter, Hash, Log, Own, Reader};

use crate::{Home, record, runtime};

/// Where the child works.
pub(crate) const HOME: &str = "GANGER_AUDIT_HOME";

/// Starts this program again in a role of its own.
pub(crate) fn role(name: &str, home: &Home, shell: Option<&str>) -> Child {
    let exe = std::env::current_exe().unwrap();
    let args = ["--exact", name, "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = match shell {
        Some(script) => {
            let mut sh = Command::new("/bin/sh");
            sh.args(["-c", script]).arg(exe);
            sh
        }
        None => Command::new(exe),
    };
    command.args(args).env(HOME, &home.path).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// `ack SEQ HASH` of a line that the role said.
pub(crate) fn ack(line: &str) -> Option<(u64, Hash)> {
    // The test harness may have begun a line of its own before it.
    let (_, rest) = line.split_once("ack ")?;
    let (seq, hash) = rest.split_once(' ')?;
    Some((seq.parse().ok()?, hash.parse().ok()?))
}

pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The home that a role was given.
pub(crate) fn given() -> Home {
    let path = std::env::var_os(HOME).expect("started by another test");
    Home { path: path.into(), _dir: None }
}

#[test]
#[ignore = "a role of the test below"]
fn child() {
    let home = given();
    let log = Log::open(home.options()).unwrap();
    runtime().block_on(async {
        let mut tasks = Vec::new();
        for appender in 0..8 {
            let log = log.clone();
            tasks.push(tokio::spawn(async move {
                for n in 0.. {
                    let receipt = log.append(&record(appender * 1_000 + n)).await.unwrap();
                    say(&format!("\nack {} {}\n", receipt.seq, receipt.hash));
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn no_acknowledged_record_is_lost() {
    let kills = std::env::var("GANGER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let home = Home::new();
    let mut acked: BTreeMap<u64, Hash> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(3);
    for kill in 0..kills {
        let mut child = role("crash::child", &home, None);
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wanted = random.usize(1..80);
        while wanted > 0 {
            let line = said.next().expect("the child ended by itself").unwrap();
            if let Some((seq, hash)) = ack(&line) {
                assert_eq!(acked.insert(seq, hash), None, "record {seq} was acknowledged twice");
                wanted -= 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acked.extend(said.map_while(Result::ok).filter_map(|line| ack(&line)));
        let report = home.verify();
        assert_eq!(report.finding, None, "after kill {kill}");
        assert!(report.last >= *acked.last_key_value().unwrap().0);
    }
    all_there(&home, &acked);
    let reader = Reader::open(&home.folder()).unwrap();
    let mut recovered = 0;
    let filter = Filter { event: Some("recovered".into()), ..Filter::default() };
    reader
        .search(&filter, |found| {
            recovered += 1;
            matches!(found.unwrap().entry.event, ganger_audit::Event::Own(Own::Recovered(_)))
        })
        .unwrap();
    assert_eq!(recovered, kills - 1, "each opening after a kill says so");
}

/// Every acknowledged record stands in the log as it was acknowledged.
pub(crate) fn all_there(home: &Home, acked: &BTreeMap<u64, Hash>) {
    let mut there = BTreeMap::new();
    let reader = Reader::open(&home.folder()).unwrap();
    reader
        .search(&Filter::default(), |found| {
            let mut found = found.unwrap();
            found.line.push(b'\n');
            there.insert(found.entry.seq, Hash::of(&found.line));
            true
        })
        .unwrap();
    for (seq, hash) in acked {
        assert_eq!(there.get(seq), Some(hash), "record {seq} was acknowledged and is not there");
    }
}
