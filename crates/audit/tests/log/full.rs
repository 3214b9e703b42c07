//! A disk that takes no more: the log is down, and nothing was acknowledged that is not there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use ganger_audit::{AuditError, Log};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::crash::{ack, all_there, given, role, say};
use crate::{Home, record, runtime};

#[test]
#[ignore = "a role of the test below"]
fn child() {
    let home = given();
    let mut options = home.options();
    options.segment_max = 1 << 30;
    let log = Log::open(options).unwrap();
    runtime().block_on(async {
        let mut n = 0;
        let error = loop {
            match log.append(&record(n)).await {
                Ok(receipt) => say(&format!("\nack {} {}\n", receipt.seq, receipt.hash)),
                Err(error) => break error,
            }
            n += 1;
        };
        assert!(matches!(error, AuditError::Io { step: "writing", .. }), "{error}");
        assert!(log.down().is_some());
        let later = log.append(&record(n)).await.unwrap_err();
        assert!(matches!(later, AuditError::Down { .. }), "{later}");
        let full = log.reopen().await.and(log.append(&record(n)).await.map(drop));
        assert!(full.is_err(), "still no space");

        // Space again.
        let mut limit = getrlimit(Resource::Fsize);
        limit.current = limit.maximum;
        setrlimit(Resource::Fsize, limit).unwrap();
        log.reopen().await.unwrap();
        assert_eq!(log.down(), None);
        let receipt = log.append(&record(n)).await.unwrap();
        say(&format!("\nack {} {}\nmended\n", receipt.seq, receipt.hash));
        log.close().await.unwrap();
    });
}

#[test]
fn a_full_disk_takes_the_log_down_until_there_is_space() {
    let home = Home::new();
    // 64 blocks: 32 or 64 KiB, by the shell. Whoever ignores SIGXFSZ gets EFBIG instead.
    let mut child =
        role("full::child", &home, Some("trap '' XFSZ; ulimit -S -f 64; exec \"$0\" \"$@\""));
    let said: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success(), "{}", said.join("\n"));
    let acked: BTreeMap<_, _> = said.iter().filter_map(|line| ack(line)).collect();
    assert!(acked.len() > 20, "only {} records fit", acked.len());
    assert!(said.iter().any(|line| line == "mended"), "{said:?}");
    let report = home.verify();
    assert_eq!(report.finding, None);
    assert!(report.closed);
    all_there(&home, &acked);
}
