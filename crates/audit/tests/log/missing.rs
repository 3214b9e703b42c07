//! Files that are not there: what was taken away is told from what never was. And a reader beside a writer at work.

use std::sync::atomic::{AtomicBool, Ordering};

use ganger_audit::verify::Fault;
use ganger_audit::{AuditError, Log, Options, Retention};

use crate::{Home, fill, image, put, runtime, segments};

fn alone(home: &Home) -> Options {
    let mut options = home.options();
    options.witness = None;
    options
}

fn refused(home: &Home) -> Fault {
    match Log::open(alone(home)) {
        Err(AuditError::Altered { finding, .. }) => finding.fault,
        other => panic!("not refused as altered: {other:?}"),
    }
}

#[test]
fn a_log_that_had_begun_never_begins_anew_in_silence() {
    let home = Home::new();
    runtime().block_on(async {
        let log = Log::open(alone(&home)).unwrap();
        fill(&log, 0..30).await;
        log.close().await.unwrap();
    });
    let good = image(&home.folder());
    assert!(segments(&good).len() > 2);
    let without = |gone: &dyn Fn(&str) -> bool| {
        let mut left = good.clone();
        left.retain(|name, _| !gone(name));
        put(&left, &home.folder());
    };
    without(&|name| name.ends_with(".jsonl") || name == "head");
    assert_eq!(refused(&home), Fault::SegmentMissing);
    without(&|name| name.ends_with(".jsonl"));
    assert_eq!(refused(&home), Fault::SegmentMissing);
    without(&|name| name == "head");
    assert_eq!(refused(&home), Fault::Head("is missing"));
    let mut garbled = good.clone();
    garbled.get_mut("head").unwrap()[7] ^= 1;
    put(&garbled, &home.folder());
    assert_eq!(refused(&home), Fault::Head("is unreadable"));
    // The control, and what a message says to do: a folder without any of it is another log's.
    let opens = || runtime().block_on(Log::open(alone(&home)).unwrap().close()).unwrap();
    put(&good, &home.folder());
    opens();
    without(&|_| true);
    opens();
}

/// Every state that a crash can leave while a log begins: it goes on from each, with the key that was drawn.
#[test]
fn a_beginning_that_was_cut_short_goes_on() {
    let home = Home::new();
    let key = runtime().block_on(async {
        let log = Log::open(alone(&home)).unwrap();
        let key = log.public_key();
        log.close().await.unwrap();
        key
    });
    let mut begun = image(&home.folder());
    let drawn = begun.remove("audit.key").unwrap();
    begun.insert("audit.key.new".into(), drawn);
    let first =
        begun["000000000001.jsonl"].split_inclusive(|b| *b == b'\n').next().unwrap().to_vec();
    begun.insert("000000000001.jsonl".into(), first);
    begun.insert("head".into(), Vec::new());
    for (gone, same) in [
        (&[][..], true),
        (&["head"], true),
        (&["head", "000000000001.jsonl"], true),
        (&["head", "000000000001.jsonl", "audit.pub"], true),
        (&["head", "000000000001.jsonl", "audit.pub", "audit.key.new"], false),
    ] {
        let mut left = begun.clone();
        left.retain(|name, _| !gone.contains(&name.as_str()));
        left.insert("audit.key.new.part".into(), b"sign 12".to_vec());
        put(&left, &home.folder());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        if same {
            std::fs::set_permissions(home.folder().join("audit.key.new"), mode).unwrap();
        }
        runtime().block_on(async {
            let log = Log::open(alone(&home)).unwrap();
            assert_eq!(log.public_key() == key, same, "without {gone:?}");
            fill(&log, 0..3).await;
            log.close().await.unwrap();
        });
        let report = ganger_audit::verify::verify(&home.folder(), &Default::default()).unwrap();
        assert_eq!((report.finding, report.closed), (None, true), "without {gone:?}");
        assert!(!home.folder().join("audit.key.new").exists());
    }
}

/// Segments end and go, logs close and open: none of it is a finding.
#[test]
fn verification_beside_a_writer_finds_nothing() {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let home = Home::new();
    let mut options = home.options();
    // Much more than is written during one look: what is being read does not go.
    options.retention = Retention { max_bytes: Some(128 << 10), max_age: None };
    drop(Log::open(options.clone()).unwrap());
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when something is found.
        let stop = Stop(&stopped);
        scope.spawn(|| {
            runtime().block_on(async {
                while !stopped.load(Ordering::Relaxed) {
                    // The last one may still be closing.
                    let Ok(log) = Log::open(options.clone()) else { continue };
                    fill(&log, 0..40).await;
                    log.close().await.unwrap();
                }
            });
        });
        for look in 0..25 {
            let report = home.verify();
            assert_eq!(report.finding, None, "look {look}: {report:?}");
        }
        drop(stop);
    });
}
