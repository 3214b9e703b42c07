//! Which path counts, when a restart is due (against a model), and trees that change, on a real file system.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::filter::Filter;
use super::gate::Gate;
use super::tree::Tree;
use super::{DEBOUNCE, Watch, check};

fn watching(base: &Path, paths: &[&str], ignore: &[&str]) -> Watch {
    let list = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    let (paths, ignore) = (list(paths), list(ignore));
    Watch { base: base.to_owned(), paths, ignore, debounce: DEBOUNCE }
}

fn filter(paths: &[&str], ignore: &[&str]) -> Filter {
    let state = Some(Path::new("/app/run/state"));
    Filter::new(&watching(Path::new("/app"), paths, ignore), state).unwrap()
}

#[test]
fn what_counts() {
    let all = filter(&["."], &["logs", "/app/tmp", "docs/*.md", "**/*.{map,log}"]);
    for yes in ["a.py", "src/deep/b.c", "docs/x/a.md", ".env", "logs.py", "src/tmp/x"] {
        assert!(all.counts(&Path::new("/app").join(yes)), "{yes}");
    }
    for no in [
        "logs",
        "logs/a",
        "src/logs/a",
        "tmp/a",
        "docs/a.md",
        "a.map",
        "src/x.log",
        ".git/HEAD",
        "web/node_modules/x/y.js",
        "src/.a.py.swp",
        "a.py~",
        "4913",
        "run/state/store.db",
    ] {
        assert!(!all.counts(&Path::new("/app").join(no)), "{no}");
    }
    assert!(!all.counts(Path::new("/b")));
    assert!(all.enters(Path::new("/app/src/deep")) && !all.enters(Path::new("/app/src/.git")));

    let py = filter(&["*.py", "./src/*.ts", "conf/**/*.yml", "../lib", "/etc/app.conf"], &[]);
    for yes in [
        "/app/a.py",
        "/app/x/y/a.py",
        "/app/src/a.ts",
        "/app/conf/a/b.yml",
        "/lib/x",
        "/etc/app.conf",
    ] {
        assert!(py.counts(Path::new(yes)), "{yes}");
    }
    for no in ["/app/a.pyc", "/app/src/x/a.ts", "/app/a.ts", "/app/a.yml", "/etc/app.conf.d"] {
        assert!(!py.counts(Path::new(no)), "{no}");
    }
    // Of a pattern that ends where it stands, deeper folders are not watched.
    let flat = filter(&["src/*.ts"], &[]);
    assert!(flat.enters(Path::new("/app/src")) && !flat.enters(Path::new("/app/src/deep")));
    // What is named is meant, whatever its name.
    assert!(filter(&["target/config"], &[]).counts(Path::new("/app/target/config/a")));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let refused = |paths: &[&str], ignore: &[&str]| {
        check(&watching(Path::new("/app"), paths, ignore)).unwrap_err().to_string()
    };
    assert!(refused(&["src/[a"], &[]).contains("`src/[a` can't be watched: "));
    assert!(refused(&["src"], &["{a"]).contains("`{a`"));
    assert!(refused(&[""], &[]).contains("a path is wanted"));
    assert!(refused(&["a"; 300], &[]).contains("at most 256"));
}

/// What happens to a gate in a tick of 50 ms.
#[derive(Debug, Clone, Copy)]
enum Tick {
    Nothing,
    Change,
    Done,
}

const TICK: Duration = Duration::from_millis(50);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// The second definition: a restart begins in the first tick in which none is under way, something has changed since
    /// the last one began, and either the last six ticks were quiet or the oldest change is two hundred ticks old.
    #[test]
    fn gates_do_as_the_model(ticks in prop::collection::vec(
        prop_oneof![5 => Just(Tick::Nothing), 3 => Just(Tick::Change), 1 => Just(Tick::Done)], 0..600,
    )) {
        let began = Instant::now();
        let mut gate = Gate::new(DEBOUNCE);
        let (mut changes, mut busy) = (Vec::<usize>::new(), false);
        for (n, tick) in ticks.into_iter().enumerate() {
            let now = began + TICK * u32::try_from(n).unwrap();
            match tick {
                Tick::Nothing => {}
                Tick::Change => {
                    gate.changed(PathBuf::from("a"), now);
                    changes.push(n);
                }
                Tick::Done => {
                    gate.done();
                    busy = false;
                }
            }
            let settled = changes.last().is_some_and(|last| n - last >= 6)
                || changes.first().is_some_and(|first| n - first >= 200);
            let fires = settled && !busy;
            prop_assert_eq!(gate.fire(now).is_some(), fires, "tick {}", n);
            if fires {
                busy = true;
                changes.clear();
            }
            prop_assert_eq!(gate.due().is_some(), !busy && !changes.is_empty());
        }
    }
}

#[test]
fn a_gate_tells_what_changed_and_suspects_rows() {
    let (mut gate, now) = (Gate::new(DEBOUNCE), Instant::now());
    for path in ["a", "b", "a", "c"] {
        gate.changed(path.into(), now);
    }
    let fire = gate.fire(now + DEBOUNCE).unwrap();
    assert_eq!((fire.path.to_str(), fire.more, fire.row), (Some("a"), 2, 0));
    for row in 1..4 {
        gate.changed("a".into(), now);
        assert_eq!(gate.due(), None);
        gate.done();
        assert_eq!(gate.fire(now + DEBOUNCE).unwrap().row, row);
    }
    gate.done();
    gate.changed("a".into(), now);
    assert_eq!(gate.fire(now + DEBOUNCE).unwrap().row, 0);
}

/// A tree over a real folder, and what it finds.
struct Wood {
    dir: tempfile::TempDir,
    tree: Tree,
}

impl Wood {
    fn new(paths: &[&str], files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let filter = Filter::new(&watching(&base, paths, &["skip"]), None).unwrap();
        let mut wood = Self { dir, tree: Tree::new(filter).unwrap() };
        files.iter().for_each(|file| wood.write(file));
        wood.tree.plant();
        assert_eq!(wood.tree.trouble(), None);
        wood
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(path)
    }

    fn write(&mut self, path: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    /// What has changed since the last look. The kernel queues an event before the call that makes it returns.
    fn changed(&mut self) -> BTreeSet<String> {
        let base = self.at("");
        let mut all = BTreeSet::new();
        loop {
            let batch = self.tree.read().unwrap();
            let last = batch.drained;
            let found = self.tree.absorb(batch);
            let short = |p: PathBuf| p.strip_prefix(&base).unwrap().display().to_string();
            all.extend(found.into_iter().map(short));
            if last {
                return all;
            }
        }
    }

    fn sees(&mut self, paths: &[&str]) {
        assert_eq!(self.changed(), paths.iter().map(|&path| path.to_owned()).collect());
    }
}

#[test]
fn writes_renames_links_and_deletions_count_once_complete() {
    let mut wood = Wood::new(&["src"], &["src/a", "src/skip/x", "other/x"]);
    assert_eq!(wood.tree.folders(), 1);
    wood.write("src/a");
    wood.write("src/skip/x");
    wood.write("other/x");
    wood.sees(&["src/a"]);
    // As editors save: a new file takes the name.
    wood.write("src/.a.swp");
    fs::rename(wood.at("src/.a.swp"), wood.at("src/a")).unwrap();
    wood.sees(&["src/a"]);
    let open = fs::File::create(wood.at("src/b")).unwrap();
    wood.sees(&[]);
    drop(open);
    wood.sees(&["src/b"]);
    std::os::unix::fs::symlink("a", wood.at("src/link")).unwrap();
    fs::remove_file(wood.at("src/b")).unwrap();
    wood.sees(&["src/b", "src/link"]);
}

#[test]
fn folders_that_come_go_and_move_are_followed() {
    let mut wood = Wood::new(&["src"], &["src/a", "away/deep/b"]);
    wood.write("src/new/deep/c");
    wood.sees(&["src/new/deep/c"]);
    wood.write("src/new/deep/c");
    wood.sees(&["src/new/deep/c"]);
    fs::rename(wood.at("away"), wood.at("src/away")).unwrap();
    wood.sees(&["src/away/deep/b"]);
    fs::rename(wood.at("src/away"), wood.at("gone")).unwrap();
    wood.sees(&["src/away"]);
    wood.write("gone/deep/b");
    wood.sees(&[]);
}

#[test]
fn roots_that_are_missing_removed_or_replaced_are_found_again() {
    let mut wood = Wood::new(&["lib/src", "app.conf"], &["x"]);
    wood.write("lib/src/a");
    wood.sees(&["lib/src/a"]);
    fs::remove_dir_all(wood.at("lib")).unwrap();
    wood.sees(&["lib/src/a"]);
    wood.write("lib/src/b");
    wood.sees(&["lib/src/b"]);
    wood.write("new/a");
    fs::rename(wood.at("lib/src"), wood.at("old")).unwrap();
    fs::rename(wood.at("new"), wood.at("lib/src")).unwrap();
    assert!(wood.changed().contains("lib/src/a"));
    wood.write("lib/src/a");
    wood.sees(&["lib/src/a"]);
    wood.write("app.conf");
    wood.sees(&["app.conf"]);
    wood.write("app.new");
    fs::rename(wood.at("app.new"), wood.at("app.conf")).unwrap();
    wood.sees(&["app.conf"]);
}
