//! Searching and exporting.

use std::io::{Read, Write};

use ganger_audit::{CsvRow, Filter, Found, Log, Reader};

use crate::{Home, fill, image, put, record, runtime, segments};

fn found(reader: &Reader, filter: Filter) -> Vec<Found> {
    let mut all = Vec::new();
    reader
        .search(&filter, |found| {
            all.push(found.unwrap());
            true
        })
        .unwrap();
    all
}

#[test]
fn records_are_found_by_what_they_say() {
    let home = Home::new();
    let secret = runtime().block_on(async {
        let log = Log::open(home.options()).unwrap();
        fill(&log, 0..40).await;
        let mut append = record(1);
        let ganger_audit::Record::Intent(intent) = &mut append.record else { panic!("an intent") };
        let secret = log.digests().arg(b"hunter2", true);
        intent.argv.push(secret.clone());
        log.append(&append).await.unwrap();
        log.close().await.unwrap();
        secret
    });
    let reader = Reader::open(&home.folder()).unwrap();
    let count = |filter: Filter| found(&reader, filter).len();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(count(Filter { verdict: some("denied"), ..Filter::default() }), 10);
    assert_eq!(count(Filter { principal: some("user1"), ..Filter::default() }), 14);
    assert_eq!(count(Filter { principal: some("1001"), ..Filter::default() }), 14);
    assert_eq!(count(Filter { program: some("git"), ..Filter::default() }), 31);
    assert_eq!(count(Filter { program: some("/usr/*"), ..Filter::default() }), 31);
    assert_eq!(count(Filter { policy: some("dep*"), ..Filter::default() }), 41);
    assert_eq!(count(Filter { text: some("origin/13\n"), ..Filter::default() }), 1);
    assert_eq!(count(Filter { text: some("hunter2"), ..Filter::default() }), 0);
    assert_eq!(
        count(Filter {
            text: some(secret.to_string().trim_start_matches("hmac:")),
            ..Filter::default()
        }),
        1
    );
    assert_eq!(count(Filter { run: record(5).run, ..Filter::default() }), 1);
    assert_eq!(count(Filter { since_ms: Some(u64::MAX >> 22), ..Filter::default() }), 0);
    assert_eq!(count(Filter { until_ms: Some(1), ..Filter::default() }), 0);
    assert_eq!(count(Filter { since_ms: Some(1), ..Filter::default() }), count(Filter::default()));

    let denied = Filter { verdict: some("denied"), ..Filter::default() };
    let last = reader.last(3, &denied).unwrap();
    assert_eq!(last, found(&reader, denied.clone())[7..]);
    assert_eq!(reader.last(100, &denied).unwrap(), found(&reader, denied.clone()));
    assert_eq!(reader.last(0, &denied).unwrap(), []);
}

#[test]
fn records_are_read_from_a_number_on_without_the_segments_before() {
    let home = Home::new();
    let options = ganger_audit::Options { segment_max: 8 << 10, ..home.options() };
    runtime().block_on(async {
        let log = Log::open(options).unwrap();
        fill(&log, 0..60).await;
        log.close().await.unwrap();
    });
    let reader = Reader::open(&home.folder()).unwrap();
    let all = found(&reader, Filter::default());
    let names = segments(&image(&home.folder()));
    assert!(names.len() > 3);
    let from = |seq| {
        let mut some = Vec::new();
        let take = |record: Result<Found, _>| {
            some.push(record.unwrap());
            true
        };
        reader.search_from(seq, &Filter::default(), take).unwrap();
        some
    };
    for at in 0..all.len() {
        assert_eq!(from(all[at].entry.seq), all[at..], "{at}");
    }
    // Not looked into: what is wrong with it is nobody's business here.
    std::fs::write(home.folder().join(&names[0]), "no record\n").unwrap();
    let last = all.len() - 1;
    assert_eq!(from(all[last].entry.seq), all[last..]);
}

/// What a crash left of a line is no beginning of the line that is written in its place.
#[test]
fn a_follower_forgets_a_torn_line() {
    let home = Home::new();
    let mut options = home.options();
    options.witness = None;
    let killed = runtime().block_on(async {
        let log = Log::open(options.clone()).unwrap();
        fill(&log, 0..3).await;
        let killed = image(&home.folder());
        log.close().await.unwrap();
        killed
    });
    put(&killed, &home.folder());
    let segment = home.folder().join(segments(&killed).pop().unwrap());
    let mut file = std::fs::OpenOptions::new().append(true).open(segment).unwrap();
    file.write_all(b"{\"body\":{\"po").unwrap();

    let (stop, signal) = rustix::pipe::pipe().unwrap();
    let mut said = std::fs::File::from(stop.try_clone().unwrap());
    let reader = Reader::open(&home.folder()).unwrap();
    let mut follow = reader.follow(&Filter::default(), stop).unwrap();
    rustix::io::write(&signal, b"x").unwrap();
    assert!(follow.next().is_none(), "it has looked at what is there, the torn line too");
    said.read_exact(&mut [0]).unwrap();
    drop(Log::open(options).unwrap());
    let names: Vec<_> =
        follow.take(2).map(|found| found.unwrap().entry.name().to_owned()).collect();
    assert_eq!(names, ["recovered", "checkpoint"]);
}

#[test]
fn a_row_stays_a_row() {
    let home = Home::new();
    let row = runtime().block_on(async {
        let log = Log::open(home.options()).unwrap();
        let mut append = record(0);
        append.principal.as_mut().unwrap().name = "=cmd|'/C calc'!A1,\u{1b}[2J\n".to_owned();
        log.append(&append).await.unwrap();
        log.close().await.unwrap();
        let last = Reader::open(&home.folder()).unwrap();
        let denied = Filter { verdict: Some("denied".to_owned()), ..Filter::default() };
        CsvRow::of(&last.last(1, &denied).unwrap()[0].entry).line()
    });
    assert!(
        row.contains(r#","'=cmd|'/C calc'!A1,\u001b[2J\u000a",1000,deploy,/usr/bin/git,"#),
        "{row}"
    );
    assert!(row.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
}
