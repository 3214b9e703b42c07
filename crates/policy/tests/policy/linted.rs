//! Policies that do not load, and what `lint` says of those that do.

use ganger_policy::{Class, Level, Policies, lint};
use serde_json::{Value, json};

use super::{Machine, many, one, policy};

fn faults(json: &Value) -> Vec<String> {
    let policies = Policies::new([("p".to_owned(), policy(json))].into());
    policies
        .err()
        .into_iter()
        .flatten()
        .map(|fault| format!("{}: {}", fault.key, fault.message))
        .collect()
}

fn free() -> Value {
    json!({ "regex": { "pattern": "[a-z]+", "max": 32 } })
}

#[test]
fn what_runs_anything_does_not_load_unless_it_is_said() {
    let any_path = json!({ "path": { "access": "read", "beneath": "/srv/bin" } });
    let int = json!({ "int": { "min": 1, "max": 60 } });
    for (id, program, args) in [
        ("B08", "/usr/bin/awk", json!([free(), any_path])),
        ("B08", "/usr/bin/gawk", json!([free()])),
        ("B09", "/usr/bin/env", json!([free()])),
        ("B09", "/usr/bin/nice", json!([any_path])),
        ("B09", "/usr/bin/timeout", json!([int, free()])),
        ("B09", "/usr/bin/nohup", json!([any_path])),
        ("B09", "/usr/bin/stdbuf", json!([free()])),
        ("B09", "/usr/bin/setsid", json!([free()])),
        ("B09", "/usr/bin/chrt", json!([int, free()])),
        ("B10", "/usr/bin/xargs", json!([free()])),
        ("B10", "/usr/bin/parallel", json!([free()])),
        ("B13", "/usr/bin/sed", json!([free(), any_path])),
        ("", "/bin/sh", json!([free()])),
        ("", "/bin/bash", json!([any_path])),
        ("", "/usr/bin/python3", json!([any_path, free()])),
        ("", "/usr/bin/python3.11", json!([free()])),
        ("", "/usr/bin/sudo", json!([free()])),
        ("", "/usr/bin/make", json!([free()])),
    ] {
        let mut json = json!({ "program": program, "allow": [{ "args": args }] });
        let found = faults(&json);
        assert!(found.iter().any(|why| why.contains("accept = [")), "{id} {program}: {found:?}");
        json["accept"] = json!(["command", "shell", "privilege"]);
        assert_eq!(faults(&json), [] as [String; 0], "{id} {program} control");
    }
    // What is written down is the author's own word.
    let written = json!([{ "literal": "5" }, { "enum": ["/usr/bin/git"] }, { "literal": "fetch" }]);
    assert_eq!(
        faults(&json!({ "program": "/usr/bin/timeout", "allow": [{ "args": written }] })),
        [] as [String; 0]
    );
    let script = json!([{ "literal": "{print $1}" }, any_path]);
    assert_eq!(
        faults(&json!({ "program": "/usr/bin/awk", "allow": [{ "args": script }] })),
        [] as [String; 0]
    );
    let option = json!({ "-c": { "value": free(), "forms": ["separate"] } });
    let found = faults(&json!({ "program": "/usr/bin/git", "allow": [{ "options": option }] }));
    assert!(found.len() == 1 && found[0].starts_with("allow.0.options.-c:"), "{found:?}");
}

/// Whoever writes what an interpreter reads writes what runs.
#[test]
fn commands_on_standard_input_do_not_load_unless_it_is_said() {
    let script = json!({ "literal": "/srv/run.py" });
    let stdin = json!({ "bytes": "1K" });
    for (program, rule, refused) in [
        ("/bin/sh", json!({}), true),
        ("/bin/bash", json!({ "options": { "-s": {} }, "args": [script] }), true),
        ("/usr/bin/python3", json!({ "args": [{ "literal": "-" }] }), true),
        ("/usr/bin/python3", json!({ "args": [{ "literal": "/dev/stdin" }] }), true),
        (
            "/usr/bin/python3",
            json!({ "args": [{ "literal": "/srv/run.py", "optional": true }] }),
            true,
        ),
        ("/usr/bin/sqlite3", json!({ "args": [{ "literal": "/srv/a.db" }] }), true),
        // It has a file of its own: what it reads is that file's business.
        ("/usr/bin/python3", json!({ "args": [script] }), false),
        ("/usr/bin/awk", json!({ "args": [{ "literal": "{print $1}" }] }), false),
        ("/usr/bin/jq", json!({ "args": [{ "literal": "." }] }), false),
    ] {
        let mut json = json!({ "program": program, "stdin": stdin, "allow": [rule] });
        let found = faults(&json);
        let stdin = found.iter().any(|why| why.starts_with("allow.0.stdin: "));
        assert_eq!(stdin, refused, "{program} {rule}: {found:?}");
        json["stdin"] = json!("none");
        assert_eq!(faults(&json), [] as [String; 0], "{program} {rule} control");
        json["stdin"] = json!({ "bytes": "1K" });
        json["accept"] = json!(["shell"]);
        assert_eq!(faults(&json), [] as [String; 0], "{program} {rule} accepted");
    }
}

/// What other policies deny of a program counts for an example as far as it counts for everybody the example is for.
#[test]
fn examples_meet_the_deny_rules_of_other_policies() {
    let verdicts = |theirs: &Value, ours: &Value, examples: Value| {
        let all = [
            (
                "ours",
                json!({ "program": "/usr/bin/git", "who": ours, "examples": examples,
                "allow": [{ "args": [{ "enum": ["fetch", "push"] }] }] }),
            ),
            (
                "theirs",
                json!({ "program": "/usr/bin/git", "who": theirs,
                "deny": [{ "id": "no-push", "subcommand": ["push"] }] }),
            ),
        ];
        let all = all.map(|(name, json)| (name.to_owned(), policy(&json)));
        let faults = Policies::new(all.into()).err().unwrap_or_default();
        faults
            .into_iter()
            .map(|fault| format!("{} {}: {}", fault.policy, fault.key, fault.message))
            .collect::<Vec<_>>()
    };
    let (owner, one, two) = (json!({}), json!({ "uids": [1] }), json!({ "uids": [1, 2] }));
    let push = [["push"]];
    for (theirs, ours, counts) in
        [(&owner, &owner, true), (&two, &one, true), (&one, &two, false), (&owner, &one, false)]
    {
        let found = verdicts(theirs, ours, json!({ "allow": push }));
        let told = found.iter().any(|why| {
            why.starts_with("ours examples.allow.0: ") && why.contains("rule `theirs/no-push`")
        });
        assert_eq!(told, counts, "{theirs} {ours}: {found:?}");
        let found = verdicts(theirs, ours, json!({ "deny": push, "allow": [["fetch"]] }));
        assert_eq!(found.is_empty(), counts, "{theirs} {ours}: {found:?}");
    }
}

#[test]
fn faults_are_found_all_at_once_with_their_place() {
    let found = faults(&json!({
        "program": "usr/bin/git", "sha256": "ABC", "interpreter": "/usr/../bin/sh", "cwd": { "fixed": "srv" },
        "who": { "uids": [4_294_967_295_u32] },
        "env": { "set": { "LD_PRELOAD": "x" }, "pass": { "HOME": null, "1X": null } },
        "allow": [
            { "id": "a", "subcommand": ["-x"], "exclusive": [["--no"]],
              "args": [{ "literal": "-x" }, { "int": { "min": 5, "max": 1 }, "repeat": 2 }, { "enum": [] }],
              "options": { "--é": {}, "x": {}, "--a=b": {}, "--v": { "value": { "regex": { "pattern": "(", "max": 5 } } },
                "-o": { "value": free(), "forms": ["joined"] }, "-of": {}, "--f": { "forms": ["equals"] },
                "--d": { "value": { "enum": ["-x"] }, "forms": ["separate"] } } },
            { "id": "a", "dashes": true, "order": "args_first", "args": [{ "int": { "min": -1, "max": 1 } }] },
        ],
        "deny": [{ "id": "", "options": ["force"], "pattern": "(" }],
    }));
    let keys: Vec<&str> = found.iter().map(|text| text.split(':').next().unwrap()).collect();
    for key in [
        "program",
        "sha256",
        "interpreter",
        "cwd",
        "who",
        "allow.1.id",
        "allow.0.subcommand.0",
        "allow.0.args.0",
        "allow.0.args.1",
        "allow.0.args.2",
        "allow.0.options.--é",
        "allow.0.options.x",
        "allow.0.options.--a=b",
        "allow.0.options.--v",
        "allow.0.options.-o",
        "allow.0.options.--f",
        "allow.0.options.--d",
        "allow.0.exclusive.0",
        "allow.1.dashes",
        "allow.1.args.0",
        "deny.0.id",
        "deny.0.options",
        "deny.0.pattern",
        "env.set.LD_PRELOAD",
        "env.pass.HOME",
        "env.pass.1X",
    ] {
        assert!(keys.contains(&key), "{key} is not among {found:#?}");
    }
}

#[test]
fn examples_hold_a_policy_against_what_it_is_for() {
    let mut git = json!({ "program": "/usr/bin/git", "allow": [{ "subcommand": ["fetch"], "args": [{ "enum": ["origin"] }] }],
        "examples": { "allow": [["fetch", "origin"]], "deny": [["push"], ["fetch", "--upload-pack=x", "origin"], ["fetch", "a\u{1}"]] } });
    assert_eq!(faults(&git), [] as [String; 0]);
    git["deny"] = json!([{ "id": "no", "pattern": "orig" }]);
    let found = faults(&git);
    assert!(
        found.len() == 1 && found[0].starts_with("examples.allow.0:") && found[0].contains("p/no"),
        "{found:?}"
    );
    git["deny"] = json!([]);
    git["examples"]["deny"] = json!([["fetch", "origin"]]);
    let found = faults(&git);
    assert!(
        found.len() == 1
            && found[0].starts_with("examples.deny.0:")
            && found[0].contains("`p` allows"),
        "{found:?}"
    );
}

#[test]
fn lint_names_dangers_by_class() {
    let text = |pattern: &str| json!({ "value": { "regex": { "pattern": pattern, "max": 64 } }, "forms": ["equals"] });
    let find = json!({ "program": "/usr/bin/find", "accept": [], "allow": [{ "options": { "-exec": {}, "-delete": {}, "-name": text("[a-z]+") } }] });
    let wide = json!({ "program": "/opt/tool", "sandbox": "none", "allow": [{ "id": "x",
        "args": [{ "path": { "access": "write", "beneath": "/" } }, { "path": { "access": "read", "beneath": "/etc" } }, { "secret": { "max": 9 } }],
        "options": { "--all": text(".*"), "--host": text("example.com"), "--ok": text(r"example\.com|[a.b]x?.+y"), "--end": text("^a$") } }] });
    let less = json!({ "program": "/usr/bin/less", "allow": [{}] });
    let open = json!({ "program": "/opt/open", "allow": [{}] });
    let machine = Machine::default();
    machine.put("/opt/open", |file| file.writable = Some("/opt".into()));
    let found =
        lint(&many(&json!({ "find": find, "wide": wide, "less": less, "open": open }), &machine));
    let has = |policy: &str, code: &str, level: Level, class: Option<Class>, part: &str| {
        let same = |finding: &&ganger_policy::Finding| {
            (finding.policy.as_str(), finding.code, finding.level, finding.class)
                == (policy, code, level, class)
                && finding.message.contains(part)
        };
        assert_eq!(found.iter().filter(same).count(), 1, "{policy} {code} {part}: {found:#?}");
    };
    has(
        "find",
        "option",
        Level::Error,
        Some(Class::Command),
        "`-exec` of find runs another command",
    );
    has("find", "option", Level::Warning, Some(Class::Write), "`-delete`");
    has("less", "inside", Level::Warning, Some(Class::Shell), "less gives a shell");
    has("wide", "no_sandbox", Level::Warning, None, "");
    has("wide", "path_program", Level::Error, None, "argument 1");
    has("wide", "path_wide", Level::Warning, None, "argument 2");
    has("wide", "secret_argument", Level::Warning, None, "argument 3");
    has("wide", "pattern_wide", Level::Error, None, "`--all`");
    has("wide", "pattern_dot", Level::Warning, None, "`--host`");
    has("wide", "pattern_anchor", Level::Note, None, "`--end`");
    has("open", "program", Level::Error, None, "may be changed by others");
    assert!(
        !found.iter().any(|f| f.message.contains("`--ok`") || f.message.contains("`-name`")),
        "{found:#?}"
    );
    assert!(found.is_sorted_by_key(|finding| finding.level));

    // Layers that are weaker than the profile's.
    let weak = json!({ "program": "/opt/tool", "allow": [{}], "layers": { "net": "off", "landlock": "prefer", "pid": "require" } });
    let weak = lint(&one(&weak));
    let told =
        |code| weak.iter().filter(|it| it.code == code).map(|it| it.level).collect::<Vec<_>>();
    assert_eq!(told("layer_off"), [Level::Warning], "{weak:#?}");
    assert_eq!(told("layer_preferred"), [Level::Note], "{weak:#?}");
    let bare = json!({ "program": "/opt/tool", "sandbox": "none", "allow": [{}], "layers": { "net": "require" } });
    let found = faults(&bare);
    assert!(found.len() == 1 && found[0].starts_with("layers:"), "{found:?}");
    let unknown = json!({ "program": "/opt/tool", "allow": [{}], "layers": { "nets": "off" } });
    assert!(serde_json::from_value::<ganger_policy::Policy>(unknown).is_err());

    // What is accepted is not told.
    let mut less = json!({ "program": "/usr/bin/less", "allow": [{}], "limits": { "time": "5s" } });
    less["accept"] = json!(["shell", "read"]);
    let left: Vec<_> = lint(&one(&less)).into_iter().map(|finding| finding.code).collect();
    assert_eq!(left, ["no_examples"]);
}
