//! Searching and exporting.

use ganger_audit::{CsvRow, Filter, Found, Log, Reader};

use crate::{Home, fill, record, runtime};

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
    assert_eq!(last, found(&reader, denied)[7..]);
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
