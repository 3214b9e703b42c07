//! Opening, rotating, retiring, checkpoints, closing.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ganger_audit::verify::{Check, Fault, verify};
use ganger_audit::{
    Append, AuditError, Event, Filter, Log, Own, Reader, Receipt, Record, Retention, Stopped, Why,
};

use crate::{Home, fill, image, put, record, runtime, segments};

fn events(home: &Home, event: &str) -> Vec<Own> {
    let filter = Filter { event: Some(event.into()), ..Filter::default() };
    let mut all = Vec::new();
    let reader = Reader::open(&home.folder()).unwrap();
    reader
        .search(&filter, |found| {
            let Event::Own(own) = found.unwrap().entry.event else { panic!("another record") };
            all.push(own);
            true
        })
        .unwrap();
    all
}

#[test]
fn a_log_goes_on_over_segments_and_openings() {
    let home = Home::new();
    runtime().block_on(async {
        for round in 0..3u64 {
            let log = Log::open(home.options()).unwrap();
            fill(&log, round * 30..round * 30 + 30).await;
            let stats = log.stats();
            assert_eq!((stats.records, stats.failed), (30, 0));
            log.close().await.unwrap();
        }
    });
    let report = home.verify();
    assert_eq!(report.finding, None);
    assert!(report.closed);
    assert!(report.segments >= 4, "{report:?}");
    assert_eq!((report.first, report.records, report.unsigned), (1, report.last, 0));
    assert!(report.witnessed.unwrap() == report.checkpoints, "{report:?}");
    assert_eq!(events(&home, "recovered"), [], "all was closed in order");
    let starts: Vec<u64> = events(&home, "segment")
        .iter()
        .map(|own| if let Own::Segment(start) = own { start.number } else { 0 })
        .collect();
    assert_eq!(starts, (1..=report.segments).collect::<Vec<_>>());
}

/// Nothing was acknowledged yet, so nothing is lost, and it is no evidence of anything.
#[test]
fn a_log_that_was_left_in_its_very_beginning_opens() {
    for first in [None, Some("000000000001.jsonl")] {
        let home = Home::new();
        std::fs::create_dir_all(home.folder()).unwrap();
        for name in ["head"].into_iter().chain(first) {
            std::fs::write(home.folder().join(name), "").unwrap();
        }
        runtime().block_on(async {
            let log = Log::open(home.options()).unwrap();
            fill(&log, 0..3).await;
            log.close().await.unwrap();
        });
        let report = home.verify();
        assert_eq!((report.finding.clone(), report.closed), (None, true), "{report:?}");
    }
}

#[test]
fn many_at_once_share_commits() {
    let home = Home::new();
    let receipts: Vec<Receipt> = runtime().block_on(async {
        let log = Log::open(home.options()).unwrap();
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let log = log.clone();
                tokio::spawn(async move { log.append(&record(n)).await.unwrap() })
            })
            .collect();
        let mut receipts = Vec::new();
        for task in tasks {
            receipts.push(task.await.unwrap());
        }
        let stats = log.stats();
        assert_eq!(stats.records, 200);
        assert!(stats.groups < 100, "200 at once took {} commits", stats.groups);
        receipts
    });
    let mut seqs: Vec<u64> = receipts.iter().map(|receipt| receipt.seq).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 200);
}

#[test]
fn the_last_handle_closes_in_order() {
    let home = Home::new();
    let log = Log::open(home.options()).unwrap();
    let (stop, _open) = rustix::pipe::pipe().unwrap();
    let reader = Reader::open(&home.folder()).unwrap();
    let mut follow = reader.follow(&Filter::default(), stop).unwrap();
    drop(log);
    let last = follow.next().unwrap().unwrap();
    let Event::Own(Own::Checkpoint { seal, why: Why::Close }) = last.entry.event else {
        panic!("not the closing checkpoint: {last:?}")
    };
    assert!(seal.closed);
}

#[test]
fn a_checkpoint_comes_when_its_time_is_over() {
    let home = Home::new();
    let mut options = home.options();
    options.checkpoint_after = Duration::from_millis(1);
    let log = Log::open(options).unwrap();
    let (stop, _open): (OwnedFd, OwnedFd) = rustix::pipe::pipe().unwrap();
    let filter = Filter { event: Some("checkpoint".into()), ..Filter::default() };
    let mut follow = Reader::open(&home.folder()).unwrap().follow(&filter, stop).unwrap();
    let receipt = runtime().block_on(log.append(&record(1))).unwrap();
    loop {
        let found = follow.next().unwrap().unwrap();
        let Event::Own(Own::Checkpoint { seal, why }) = found.entry.event else {
            panic!("{found:?}")
        };
        assert_eq!(why, Why::Time);
        // The one for the log's first line may come before.
        if seal.seq >= receipt.seq {
            assert!(seal.verifies(&log.public_key()));
            break;
        }
    }
}

#[test]
fn retention_announces_what_it_deletes() {
    let home = Home::new();
    let mut options = home.options();
    options.retention = Retention { max_bytes: Some(30 << 10), max_age: None };
    runtime().block_on(async {
        let log = Log::open(options).unwrap();
        fill(&log, 0..150).await;
        log.close().await.unwrap();
    });
    let report = home.verify();
    assert_eq!(report.finding, None);
    assert!(report.first > 1 && report.retired_through >= 1, "{report:?}");
    let left = image(&home.folder());
    let names = segments(&left);
    let bytes: usize = names.iter().map(|name| left[name].len()).sum();
    assert!(bytes < 50 << 10, "{bytes} bytes are left");
    std::fs::remove_file(home.folder().join(&names[0])).unwrap();
    assert_eq!(home.verify().finding.unwrap().fault, Fault::SegmentMissing);
}

#[test]
fn a_crash_is_told_and_its_torn_line_goes() {
    let home = Home::new();
    let killed = runtime().block_on(async {
        let log = Log::open(home.options()).unwrap();
        fill(&log, 0..20).await;
        let killed = image(&home.folder());
        log.close().await.unwrap();
        killed
    });
    // The witness is put back too: its head goes with the log's.
    let other = Home::new();
    put(&killed, &other.folder());
    let last = other.folder().join(segments(&killed).pop().unwrap());
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend_from_slice(b"{\"body\":{\"po");
    std::fs::write(&last, &bytes).unwrap();
    let before = verify(&other.folder(), &Check::default());
    let before = before.unwrap();
    assert_eq!(before.torn_bytes, 12);
    let mut options = other.options();
    options.witness = None;
    drop(Log::open(options.clone()).unwrap());
    let events = events(&other, "recovered");
    let [Own::Recovered(recovered)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((recovered.torn_bytes, recovered.unsigned, recovered.head_lost), (12, 0, false));
}

#[test]
fn nothing_is_appended_to_what_was_tampered_with() {
    let home = Home::new();
    runtime().block_on(async {
        let log = Log::open(home.options()).unwrap();
        fill(&log, 0..9).await;
        assert!(matches!(Log::open(home.options()), Err(AuditError::Locked { .. })));
        let other = log.clone();
        log.close().await.unwrap();
        let refused = other.append(&record(1)).await.unwrap_err();
        assert!(matches!(refused, AuditError::Closed), "{refused}");
    });
    let good = image(&home.folder());
    let last = segments(&good).pop().unwrap();
    let mut cut = good.clone();
    let bytes = cut.get_mut(&last).unwrap();
    let end = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    bytes.truncate(end);
    put(&cut, &home.folder());
    let error = Log::open(home.options()).unwrap_err();
    assert!(
        matches!(&error, AuditError::Altered { finding, .. } if finding.fault.is_rollback()),
        "{error}"
    );

    let mut keyless = good.clone();
    keyless.insert("audit.key".into(), format!("sign {0}\ndigest {0}\n", "11".repeat(32)).into());
    put(&keyless, &home.folder());
    let error = Log::open(home.options()).unwrap_err();
    assert!(matches!(&error, AuditError::Altered { .. }), "{error}");

    put(&good, &home.folder());
    std::fs::remove_dir_all(home.witness()).unwrap();
    let error = Log::open(home.options()).unwrap_err();
    assert!(error.to_string().contains("lost the head"), "{error}");
}

#[test]
fn a_record_without_end_is_refused_alone() {
    let home = Home::new();
    runtime().block_on(async {
        let log = Log::open(home.options()).unwrap();
        let long = Append::own(Record::Stopped(Stopped { reason: "\u{1b}".repeat(50_000) }));
        let error = log.append(&long).await.unwrap_err();
        assert!(matches!(error, AuditError::TooLarge { .. }), "{error}");
        log.append(&record(1)).await.unwrap();
        log.close().await.unwrap();
    });
    assert_eq!(home.verify().finding, None);
}
