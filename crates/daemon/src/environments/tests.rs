use super::*;

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ganger.toml");
    std::fs::write(&file, text).unwrap();
    let mut config = crate::config::load_with(&file, &BTreeMap::new()).unwrap().config;
    for service in config.services.values_mut() {
        // Each configuration of a test has a folder of its own.
        service.program.cwd = "/".into();
    }
    config
}

fn nothing() -> Config {
    (*crate::desired::Desired::default().config).clone()
}

const ONE: &str = "[service.a]\ncommand = \"sleep 1\"\n";
const TWO: &str =
    "[service.a]\ncommand = \"sleep 1\"\nreplicas = 2\n[service.b]\ncommand = \"sleep 2\"\n";
const CHANGED: &str = "[service.a]\ncommand = \"sleep 3\"\n";

#[test]
fn another_shell_changes_nothing_for_what_runs_the_same() {
    let (empty, one, two) = (nothing(), config(ONE), config(TWO));
    let (first, second) =
        (vars(&[("A", "1"), ("SHLVL", "1")]), vars(&[("A", "2"), ("SHLVL", "2")]));
    let before = Environments::default().next(&empty, &one, first.clone(), false);
    assert_eq!(*before.of("a"), first);
    let after = before.next(&one, &two, second.clone(), false);
    assert_eq!(*after.of("a"), first, "more replicas are no reason");
    assert_eq!(*after.of("b"), second, "what is new inherits from whom brings it");
    let word = after.differing(second.clone()).unwrap();
    assert!(word.starts_with("1 program keeps"), "{word}");
    assert!(word.contains("differs in A:"), "{word}");
    let updated = after.next(&two, &two, second.clone(), true);
    assert_eq!(*updated.of("a"), second);
    assert_eq!(updated.differing(second), None);
}

#[test]
fn a_changed_program_takes_the_new_one() {
    let (one, changed) = (config(ONE), config(CHANGED));
    let before = Environments::default().next(&nothing(), &one, vars(&[("A", "1")]), false);
    let after = before.next(&one, &changed, vars(&[("A", "2"), ("LISTEN_FDS", "1")]), false);
    assert_eq!(*after.of("a"), vars(&[("A", "2")]), "and never what means its starter");
}

#[test]
fn a_terminal_is_not_worth_a_word() {
    let one = config(ONE);
    let environments =
        Environments::default().next(&nothing(), &one, vars(&[("SSH_TTY", "/dev/pts/1")]), false);
    assert_eq!(environments.differing(vars(&[("COLUMNS", "80"), ("_", "x")])), None);
    assert!(environments.differing(vars(&[("TERMINAL", "x")])).is_some());
}

#[test]
fn they_survive_the_store_and_are_shared() {
    let two = config(TWO);
    let environments = Environments::default().next(&nothing(), &two, vars(&[("A", "1")]), false);
    let text = serde_json::to_string(&environments).unwrap();
    let read: Environments = serde_json::from_str(&text).unwrap();
    assert_eq!(read, environments);
    assert!(Arc::ptr_eq(&read.of("a"), &read.of("b")));
}
