//! Policies as they are written: what comes out, and where the carets stand.

use super::*;

const FULL: &str = r#"
[policy.fetch]
program = "/usr/bin/git"
subcommand = ["fetch"]
args = [{ one_of = ["origin", "mirror"] }, { regex = "[a-z/]+", optional = true, repeat = 3 }]
options = { "--prune" = "flag", "--depth" = { int = "1..1000", forms = ["equals", "separate"] }, "-v" = { repeat = 2 }, "-j" = { int = "1..8" } }
exclusive = [["--prune", "--depth"]]
env = { set = { LANG = "C.UTF-8", GIT_PAGER = "cat" }, pass = ["TERM"], refuse = ["*TOKEN*"] }
cwd = { beneath = "/srv/repos" }
limits = { time = "60s", memory = "256M", output = "1M" }
rate = "10/m"
burst = 3
running = 2
who = { uids = [1000], tokens = ["ci"] }
examples = { allow = [["fetch", "origin"], ["fetch", "--depth=5", "mirror", "main"]], deny = [["push"], ["fetch", "--upload-pack=x", "origin"]] }

[[policy.fetch.allow]]
id = "status"
subcommand = ["status"]

[[policy.fetch.deny]]
id = "no-secret-branch"
pattern = "secret/"
reason = "those branches stay where they are"

[policy.report]
program = "/srv/bin/report.py"
interpreter = "/usr/bin/python3"
sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
args = ["--", { path = "write", beneath = "/srv/out" }, { secret = true, max = 64 }]
order = "args-first"
stdin = { bytes = "64K" }
sandbox = "standard"
layers = { landlock = "prefer", net = "require", uts = "off" }
limits = { memory = "1G", require = true }
env = { pass = { BUILD = { regex = "[0-9]+", max = 8 }, NAME = {} } }
"#;

#[test]
fn a_full_policy() {
    // `--` is no argument that could be written down; the rest is.
    let folder = toml(&FULL.replace("\"--\", ", ""));
    let loaded = folder.load("ganger.toml").unwrap();
    let json = serde_json::to_string_pretty(&loaded.config.policies).unwrap();
    insta::assert_snapshot!(json);
    let again: BTreeMap<String, ganger_policy::Policy> = serde_json::from_str(&json).unwrap();
    assert_eq!(again, loaded.config.policies);
    assert_eq!(crate::config::verify(&loaded.config), [] as [String; 0]);
    // Neither program can be trusted to be on every machine; where they are not is a warning.
    assert!(
        loaded.warnings.list.iter().any(|d| d.message.contains("`report` would deny everything"))
    );
}

#[test]
fn policies_from_elsewhere_are_held_to_the_same_rules() {
    let folder = toml(&FULL.replace("\"--\", ", ""));
    let mut config = folder.load("ganger.toml").unwrap().config;
    config.policies.get_mut("fetch").unwrap().program = "git".into();
    let wrong = crate::config::verify(&config);
    assert!(
        wrong.len() == 1 && wrong[0].contains("`program` must be an absolute path"),
        "{wrong:?}"
    );
}

#[test]
fn mistakes_in_policies() {
    insta::assert_snapshot!(
        toml(
            r#"
[policy.a]
program = "git"
arguments = ["x"]
args = ["-x", { enum = ["a"] }, { one_of = ["a"], int = "1..2" }, { path = "read" }, { max = 5 }, { int = "1-2" }]
[policy.b]
program = "/usr/bin/env"
args = [{ regex = "[a-z]+" }]
options = { "--a" = "flagg", "--é" = "flag", "-x" = { regex = "(", forms = ["equal"] } }
[policy.c]
program = "/usr/bin/git"
args = [{ regex = "(" }]
options = { "no-dash" = "flag" }
env = { pass = ["LD_PRELOAD"] }
sandbox = "strikt"
stdin = { bytes = "5", beneath = "/" }
[[policy.c.allow]]
subcommand = ["x"]
[policy.d]
program = "/usr/bin/git"
subcommand = ["fetch"]
options = { "no-dash" = "flag", "--v" = "flag" }
exclusive = [["--v", "--w"]]
env = { pass = ["LD_PRELOAD"], set = { IFS = "${HOME}" } }
examples = { deny = [["fetch"]] }
who = { uids = [4294967295] }
[policy.e]
program = "/usr/bin/git"
subcommand = ["fetch"]
examples = { allow = [["fetch"], ["push"]], deny = [["fetch"]] }
[policy.f]
burst = 5
[policy.g]
program = "/usr/bin/git"
sandbox = "none"
layers = { landlock = "require" }
[policy.h]
program = "/usr/bin/git"
layers = { landlok = "off", net = "on" }
"#
        )
        .findings("ganger.toml")
    );
}

/// Whoever calls `up` sets the environment of `up`.
#[test]
fn no_variable_of_the_caller_is_in_a_policy() {
    let folder = toml(
        r#"
[policy.a]
program = "/usr/bin/git"
args = [{ int = "1..${HOME}" }]
limits = { time = "${HOME:-1s}", memory = "${HOME:-1M}" }
rate = "${HOME:-1/s}"
stdin = { bytes = "${HOME:-1K}" }
env = { set = { A = "${HOME}" } }
[service.a]
command = "/bin/true"
env = { A = "${HOME}" }
"#,
    );
    let found = folder.findings("ganger.toml");
    let grammars = ["a range of numbers", "a duration", "a size", "a rate", "a size"];
    // The control: elsewhere it means what it always did.
    assert!(found.contains("the environment variable `HOME` is not set"), "{found}");
    assert_eq!(found.matches("error: ").count(), grammars.len() + 1, "{found}");
    for grammar in grammars {
        assert!(found.contains(&format!("is not {grammar}")), "{grammar}: {found}");
    }
}

/// A table beside `[[allow]]` that would be read as if it held for all rules.
#[test]
fn keys_of_a_rule_beside_rules_are_no_defaults() {
    let found = toml(
        r#"
[policy.a]
program = "/usr/bin/git"
clusters = true
exclusive = [["-a", "-b"]]
[[policy.a.allow]]
id = "x"
subcommand = ["x"]
"#,
    )
    .findings("ganger.toml");
    for key in ["clusters", "exclusive"] {
        assert!(found.contains(&format!("`{key}` belongs to a rule")), "{found}");
    }
}

/// What cargo-fuzz does with the target `toml`, over changes of a good file: lines left out, doubled, swapped, and bytes of others.
#[test]
fn changed_policies_load_or_are_refused() {
    let lines: Vec<&str> = FULL.lines().collect();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut loaded, mut refused) = (0, 0);
    for _ in 0..150 {
        let mut text = lines.clone();
        let at = random.usize(1..text.len());
        match random.u8(0..3) {
            0 => drop(text.remove(at)),
            1 => text.insert(at, lines[random.usize(..lines.len())]),
            _ => text.swap(1, at),
        }
        let mut bytes = text.join("\n").replace("\"--\", ", "").into_bytes();
        for _ in 0..random.usize(..3) {
            let at = random.usize(..bytes.len());
            bytes[at] = *random.choice(b"\"[]{}=,.-09az\\(\n*").unwrap();
        }
        let text = String::from_utf8_lossy(&bytes);
        match load_text(&text, Path::new("/app"), &BTreeMap::new()) {
            Ok(it) => {
                loaded += 1;
                assert_eq!(crate::config::verify(&it.config), [] as [String; 0], "{text}");
            }
            Err(errors) => {
                refused += 1;
                assert!(!errors.render(false).is_empty());
            }
        }
    }
    assert!(loaded > 5 && refused > 5, "{loaded} loaded, {refused} refused");
}
