//! What holds for every importer: the text that `import` writes means what `up -f` runs, whatever stands in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ganger_testkit::setups::{PM2, PROCFILES, SUPERVISORD, furnish};
use proptest::prelude::*;

use super::draft::{Draft, Runs, Service};
use super::toml_text::variable;
use super::{Choice, tables, units};
use crate::config::{Config, load_chosen, load_with, resolved};

/// The config without the files it came from.
fn meaning(mut config: Config) -> Config {
    config.sources.clear();
    config
}

fn env() -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    BTreeMap::from([("PATH".to_owned(), path), ("SETUP_HOME".to_owned(), "/home".to_owned())])
}

pub(super) fn has_node() -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    crate::config::find_executable("node", Path::new("/"), &path).is_ok()
}

#[test]
fn what_import_writes_means_what_up_runs_from_any_folder() {
    let dir = tempfile::tempdir().unwrap();
    furnish(dir.path());
    let elsewhere = tempfile::tempdir().unwrap();
    for setup in [PROCFILES, PM2, SUPERVISORD].concat() {
        if setup.file.ends_with("js") && !has_node() {
            continue;
        }
        let from = dir.path().join(setup.file);
        std::fs::write(&from, setup.text).unwrap();
        let direct = load_with(&from, &env()).unwrap_or_else(|e| panic!("{}: {e}", setup.file));
        for base in [dir.path(), elsewhere.path()] {
            let mut sources = Vec::new();
            let foreign = crate::config::foreign(
                super::Format::of(&from).unwrap(),
                &from,
                setup.text,
                &env(),
                &Choice::default(),
                &mut sources,
            );
            let written = base.join("ganger.toml");
            std::fs::write(&written, foreign.unwrap().toml(base)).unwrap();
            let read =
                load_with(&written, &env()).unwrap_or_else(|e| panic!("{}: {e}", setup.file));
            assert_eq!(meaning(read.config), meaning(direct.config.clone()), "{}", setup.file);
        }
    }
}

#[test]
fn the_tables_of_the_docs_are_those_of_the_mappers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/import.md");
    let Ok(docs) = std::fs::read_to_string(&path) else { return };
    let (open, close) = ("<!-- tables: from the mappers -->\n", "<!-- tables: end -->");
    let (before, rest) = docs.split_once(open).expect("where the tables begin");
    let (now, after) = rest.split_once(close).expect("where they end");
    let wanted = format!("\n{}\n", tables());
    if std::env::var_os("GANGER_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{open}{wanted}{close}{after}")).unwrap();
    } else {
        assert!(now == wanted, "docs/import.md is old: run this test with GANGER_WRITE_DOCS=1");
    }
}

#[test]
fn a_file_of_nobodys_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("compose.yaml");
    std::fs::write(&path, "services:\n  web: {}\n").unwrap();
    let said = load_with(&path, &env()).unwrap_err().to_string();
    assert!(said.contains("no `apps`") && said.contains("compose"), "{said}");
    std::fs::write(&path, "apps: [\n").unwrap();
    assert!(load_with(&path, &env()).unwrap_err().to_string().contains("not YAML"));
    let path = dir.path().join("Procfile");
    std::fs::write(&path, "web: true\n").unwrap();
    let chosen = Choice { env: Some("production".into()) };
    assert!(load_chosen(&path, &chosen).unwrap_err().to_string().contains("`--env` chooses"));
}

#[test]
fn names_are_made_proper_and_apart() {
    let name = |given: &str| super::name_for(given, &|name| name == "web");
    assert_eq!(name("my app/é"), "my-app");
    assert_eq!(name("web"), "web-2");
    assert_eq!(name("ganger"), "app");
    assert_eq!(name("…"), "app");
    assert_eq!(name(&"x".repeat(200)).len(), 60);
}

#[test]
fn other_tools_units() {
    let time = |text: &str| units::pm2_millis(&serde_json::from_str(text).unwrap());
    assert_eq!(time("1600"), Some(1_600));
    assert_eq!(time("\"1.5h\""), Some(5_400_000));
    assert_eq!((time("\"10x\""), time("-1"), time("true"), time("\"\"")), (None, None, None, None));
    let size = |text: &str| units::pm2_bytes(&serde_json::from_str(text).unwrap());
    assert_eq!(size("\"300M\""), Some(300 << 20));
    assert_eq!(size("\"1GB\""), Some(1 << 30));
    assert_eq!((size("4096"), size("\"much\"")), (Some(4_096), None));
}

/// Texts as nobody writes them, often with what has a meaning in TOML, in shells and in `${…}`.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("${".to_owned()),
        Just("$".to_owned()),
        Just("}".to_owned()),
        Just("'\"\\".to_owned()),
        Just("\n#\t".to_owned()),
        Just("\"\"\"'''".to_owned()),
        "[a-z é€\u{7f}%=]{0,6}",
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn every_text_survives(
        words in proptest::collection::vec(text(), 0..4),
        line in text(),
        values in proptest::collection::btree_map("[A-Z_. é]{1,5}", text(), 0..4),
        folder in "[a-z ]{1,8}",
    ) {
        let command = [vec!["true".to_owned()], words].concat();
        let mut env = values.clone();
        env.insert("FROM".into(), format!("a{}b", variable("OUTSIDE")));
        let one = Service {
            name: "one".into(),
            comment: Some(line.clone()),
            runs: Runs::Words(command.clone()),
            cwd: Some(PathBuf::from("/srv").join(&folder)),
            env,
            ..Service::default()
        };
        let shell = format!("x{line}");
        let two = Service { name: "t.wo".into(), runs: Runs::Line(shell.clone()), ..Service::default() };
        let mut draft = Draft { services: vec![one, two], home: "/srv".into(), ..Draft::default() };
        draft.notes.left("key", line.clone(), &line);
        for base in ["/srv", "/other"] {
            let toml = draft.to_toml("file", Path::new(base));
            let outside = BTreeMap::from([("OUTSIDE".to_owned(), "in".to_owned())]);
            let loaded = resolved(Path::new("x"), &toml, Path::new(base), &outside, vec![], vec![]);
            let config = loaded.map_err(|e| TestCaseError::fail(format!("{e}\n{toml}")))?.config;
            let program = &config.services["one"].program;
            prop_assert_eq!(&program.command, &command);
            prop_assert_eq!(&program.cwd, &PathBuf::from("/srv").join(&folder));
            prop_assert_eq!(&program.env["FROM"], "ainb");
            for (name, value) in &values {
                prop_assert_eq!(&program.env[name], value);
            }
            let program = &config.services["t.wo"].program;
            prop_assert_eq!(&program.command[2], &shell);
            prop_assert_eq!(&program.cwd, Path::new("/srv"));
        }
    }
}
