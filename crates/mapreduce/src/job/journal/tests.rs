use super::*;

fn attempt(number: u32) -> AttemptId {
    AttemptId { epoch: 1, number }
}

fn row(bytes: u64) -> Row {
    let counters = BTreeMap::from([(("a\tb".to_owned(), "c,d".to_owned()), 5)]);
    Row { bytes, lines: 2, crc: 0xabc, counters }
}

/// Whatever a death leaves of the last line, all lines before it count, and one can go on.
#[test]
fn a_torn_line_never_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut journal, state) = Journal::open(&path).unwrap();
    assert_eq!(state, State::default());
    journal.begin("f", (3, 1)).unwrap();
    journal.epoch(1).unwrap();
    journal.done(Task::Map(2), attempt(1), &row(7)).unwrap();
    journal.done(Task::Map(2), attempt(2), &row(8)).unwrap();
    journal.sync().unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    journal.done(Task::Reduce(0), attempt(3), &row(9)).unwrap();
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    for cut in before as usize..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (journal, state) = Journal::open(&path).unwrap();
        assert_eq!(state.fingerprint, Some(("f".to_owned(), 3, 1)));
        assert_eq!(state.done, BTreeMap::from([(Task::Map(2), (attempt(1), row(7)))]), "{cut}");
        drop(journal);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), before);
    }
    std::fs::write(&path, &whole).unwrap();
    let (mut journal, state) = Journal::open(&path).unwrap();
    assert_eq!((state.done.len(), state.epoch), (2, 1));
    journal.revoke(Task::Map(2), attempt(2)).unwrap();
    journal.revoke(Task::Map(2), attempt(1)).unwrap();
    journal.dead(Task::Map(1), "it\nfell").unwrap();
    drop(journal);
    let (_, state) = Journal::open(&path).unwrap();
    assert_eq!(state.done.keys().collect::<Vec<_>>(), [&Task::Reduce(0)]);
    assert_eq!(state.dead, BTreeMap::from([(Task::Map(1), "it fell".to_owned())]));
}

#[test]
fn damage_is_told_and_one_process_works_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.epoch(1).unwrap();
    journal.epoch(2).unwrap();
    assert!(matches!(Journal::open(&path), Err(RunError::Busy { .. })));
    drop(journal);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Journal::open(&path).unwrap_err();
    assert!(error.to_string().contains("line 1 is damaged"), "{error}");
}
