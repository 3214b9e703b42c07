//! The state database, looked after with and without a daemon.

use crate::{folder, up};

const HELD: &str = "version = 1\n[queue.words]\n";

#[test]
fn a_backup_beside_a_daemon_comes_back() {
    let it = up(HELD);
    let first = it.ganger(&["push", "words", "--payload", "1", "--json"]).with_code(0).json();
    let copy = it.ganger(&["store", "backup", "copy.db", "--json"]).with_code(0).json();
    assert_eq!((copy["unfinished"].as_u64(), copy["finished"].as_u64()), (Some(1), Some(0)));
    let said = it.ganger(&["store", "backup", "copy.db"]).with_code(9);
    assert!(said.err.contains("--replace"), "{}", said.err);
    let late = it.ganger(&["push", "words", "--payload", "2", "--json"]).with_code(0).json();
    let found = it.ganger(&["store", "check", "--json"]).with_code(0).json();
    assert_eq!((found["ok"].as_bool(), found["unfinished"].as_u64()), (Some(true), Some(2)));
    for verb in [
        &["store", "restore", "copy.db"][..],
        &["store", "vacuum"],
        &["store", "check", "--repair"],
    ] {
        let said = it.ganger(verb).with_code(9);
        assert!(said.err.contains("ganger down"), "{}", said.err);
    }
    let _ = it.ganger(&["down"]).with_code(0);
    let restored = it.ganger(&["store", "restore", "copy.db", "--json"]).with_code(0).json();
    assert_eq!(restored["unfinished"], 1);
    assert!(std::path::Path::new(restored["aside"].as_str().unwrap()).is_file());
    let _ = it.ganger(&["store", "check", "--repair"]).with_code(0);
    let _ = it.ganger(&["store", "vacuum"]).with_code(0);
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let id = |pushed: &serde_json::Value| pushed["id"].as_str().unwrap().to_owned();
    let _ = it.ganger(&["task", "get", &id(&first)]).with_code(0);
    let _ = it.ganger(&["task", "get", &id(&late)]).with_code(4);
    // Ids that were drawn after the backup are not drawn again.
    let next = it.ganger(&["push", "words", "--payload", "3", "--json"]).with_code(0).json();
    assert!(id(&next) > id(&late));
}

#[test]
fn without_a_database_it_says_so() {
    let it = folder();
    for verb in [&["store", "check"][..], &["store", "backup", "x.db"], &["store", "vacuum"]] {
        let said = it.ganger(verb).with_code(4);
        assert!(said.err.contains("--state-dir"), "{}", said.err);
    }
}
