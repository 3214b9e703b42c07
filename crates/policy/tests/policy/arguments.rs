//! Dangerous arguments of allowed programs. Each attack is denied under a policy for the everyday use of the program, and
//! allowed under the same policy with the one thing added that lets it in: without that control a case proves nothing.

use ganger_policy::{Class, Code, Decision, Request};
use serde_json::{Value, json};

use super::{argv, code, decide, one};

struct Case {
    id: &'static str,
    program: &'static str,
    /// The everyday rule.
    rule: Value,
    args: Vec<String>,
    code: Code,
    /// What lets the attack in, merged into the rule.
    control: Value,
    /// What the reason names as danger.
    danger: Option<Class>,
}

fn case(
    id: &'static str,
    program: &'static str,
    rule: Value,
    args: &[&str],
    code: Code,
    control: Value,
    danger: Option<Class>,
) -> Case {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Case { id, program, rule, args, code, control, danger }
}

fn word() -> Value {
    json!({ "regex": { "pattern": "[A-Za-z0-9@._-]+", "max": 64 } })
}

fn any() -> Value {
    json!({ "regex": { "pattern": "(?s).*", "max": 4096, "lines": true } })
}

fn file() -> Value {
    json!({ "path": { "access": "read", "beneath": "/srv/in" } })
}

fn valued(kind: &Value, form: &str) -> Value {
    json!({ "value": kind, "forms": [form] })
}

/// `a` with the keys of `b` on top, tables inside tables too.
fn merged(a: &Value, b: &Value) -> Value {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut out = a.clone();
            for (key, value) in b {
                let value = out.get(key).map_or_else(|| value.clone(), |old| merged(old, value));
                out.insert(key.clone(), value);
            }
            Value::Object(out)
        }
        (_, b) => b.clone(),
    }
}

fn options(name: &str, option: &Value) -> Value {
    json!({ "options": { name: option } })
}

fn everyday() -> Vec<Case> {
    use Class::{Command, Load, Read, Write};
    use Code::{Dash, Option as Unknown, Subcommand, Value as Wrong};
    let find = json!({ "args": [file()], "order": "args_first", "dashes": false,
        "options": { "-name": valued(&word(), "separate") } });
    let tar =
        json!({ "options": { "-x": {}, "-f": valued(&file(), "separate") }, "args": [file()] });
    let git = json!({ "subcommand": ["fetch"], "args": [{ "enum": ["origin", "mirror"] }],
        "options": { "--depth": valued(&json!({ "int": { "min": 1, "max": 1000 } }), "equals") } });
    let ssh = json!({ "args": [word(), { "literal": "uptime" }] });
    let rsync = json!({ "args": [file(), { "path": { "access": "write", "beneath": "/srv/out" } }], "options": { "-a": {} } });
    let sort = json!({ "args": [file()], "options": { "-n": {} } });
    let curl =
        json!({ "args": [{ "enum": ["https://api.example/health"] }], "options": { "-s": {} } });
    let flag = json!({});
    let joined = valued(&any(), "joined");
    let equals = valued(&any(), "equals");
    let separate = valued(&any(), "separate");
    vec![
        case(
            "B01 exec",
            "/usr/bin/find",
            find.clone(),
            &[".", "-exec", "sh", "-c", "id", ";"],
            Unknown,
            json!({ "options": { "-exec": {} }, "args": [any()], "clusters": false, "args_": 0 }),
            Some(Command),
        ),
        case(
            "B01 delete",
            "/usr/bin/find",
            find.clone(),
            &[".", "-delete"],
            Unknown,
            options("-delete", &flag),
            Some(Write),
        ),
        case(
            "B01 fls",
            "/usr/bin/find",
            find.clone(),
            &[".", "-fls", "x"],
            Unknown,
            options("-fls", &separate),
            Some(Write),
        ),
        case(
            "B01 ok",
            "/usr/bin/find",
            find,
            &[".", "-okdir"],
            Unknown,
            options("-okdir", &flag),
            Some(Command),
        ),
        case(
            "B03 checkpoint",
            "/usr/bin/tar",
            tar.clone(),
            &["-x", "-f", "a", "--checkpoint-action=exec=sh", "b"],
            Unknown,
            options("--checkpoint-action", &equals),
            Some(Command),
        ),
        case(
            "B03 -I",
            "/usr/bin/tar",
            tar.clone(),
            &["-x", "-f", "a", "-Ish", "b"],
            Unknown,
            options("-I", &joined),
            Some(Command),
        ),
        case(
            "B03 to-command",
            "/usr/bin/tar",
            tar.clone(),
            &["-x", "--to-command=sh", "-f", "a", "b"],
            Unknown,
            options("--to-command", &equals),
            Some(Command),
        ),
        case(
            "B04 abbreviated",
            "/usr/bin/tar",
            tar.clone(),
            &["-x", "-f", "a", "--checkpoint-act=exec=sh", "b"],
            Unknown,
            options("--checkpoint-act", &equals),
            Some(Command),
        ),
        case(
            "B04 abbreviated",
            "/usr/bin/tar",
            tar,
            &["-x", "-f", "a", "--to-com=sh", "b"],
            Unknown,
            options("--to-com", &equals),
            Some(Command),
        ),
        case(
            "B06 config",
            "/usr/bin/git",
            git.clone(),
            &["-c", "core.sshCommand=sh", "fetch", "origin"],
            Subcommand,
            json!({ "subcommand": [], "args": [any()], "options": { "-c": separate } , "repeat_": 0 }),
            Some(Command),
        ),
        case(
            "B06 upload-pack",
            "/usr/bin/git",
            git.clone(),
            &["fetch", "--upload-pack=sh", "origin"],
            Unknown,
            options("--upload-pack", &equals),
            Some(Command),
        ),
        case(
            "B06 exec-path",
            "/usr/bin/git",
            git.clone(),
            &["fetch", "--exec-path=/tmp", "origin"],
            Unknown,
            options("--exec-path", &equals),
            Some(Load),
        ),
        case(
            "B06 ext",
            "/usr/bin/git",
            git,
            &["fetch", "ext::sh -c id"],
            Wrong,
            json!({ "args": [any()] }),
            None,
        ),
        case(
            "B11 joined",
            "/usr/bin/ssh",
            ssh.clone(),
            &["-oProxyCommand=sh", "host", "uptime"],
            Unknown,
            options("-o", &joined),
            Some(Command),
        ),
        case(
            "B11 -F",
            "/usr/bin/ssh",
            ssh.clone(),
            &["-F", "x", "host", "uptime"],
            Unknown,
            options("-F", &separate),
            Some(Load),
        ),
        case(
            "B11 host",
            "/usr/bin/ssh",
            ssh,
            &["--", "-oBatchMode", "uptime"],
            Dash,
            json!({ "args": [{ "path": { "access": "read", "beneath": "/srv" } }, { "literal": "uptime" }] }),
            None,
        ),
        case(
            "B12 -e",
            "/usr/bin/rsync",
            rsync.clone(),
            &["-e", "sh -c id", "a", "/srv/out/b"],
            Unknown,
            options("-e", &separate),
            Some(Command),
        ),
        case(
            "B12 path",
            "/usr/bin/rsync",
            rsync,
            &["--rsync-path=sh", "a", "/srv/out/b"],
            Unknown,
            options("--rsync-path", &equals),
            Some(Command),
        ),
        case(
            "B14 program",
            "/usr/bin/sort",
            sort.clone(),
            &["--compress-program=sh", "a"],
            Unknown,
            options("--compress-program", &equals),
            Some(Command),
        ),
        case(
            "B14 -o",
            "/usr/bin/sort",
            sort.clone(),
            &["-o", "b", "a"],
            Unknown,
            options("-o", &separate),
            Some(Write),
        ),
        case(
            "B14 files",
            "/usr/bin/sort",
            sort,
            &["--files0-from=x", "a"],
            Unknown,
            options("--files0-from", &equals),
            Some(Read),
        ),
        case(
            "B16 -o",
            "/usr/bin/curl",
            curl.clone(),
            &["-o", "/etc/x", "https://api.example/health"],
            Unknown,
            options("-o", &separate),
            Some(Write),
        ),
        case(
            "B16 -K",
            "/usr/bin/curl",
            curl.clone(),
            &["-K", "x", "https://api.example/health"],
            Unknown,
            options("-K", &separate),
            Some(Load),
        ),
        case(
            "B16 file",
            "/usr/bin/curl",
            curl.clone(),
            &["file:///etc/passwd"],
            Wrong,
            json!({ "args": [any()] }),
            None,
        ),
        case(
            "B16 data",
            "/usr/bin/curl",
            curl,
            &["--data-binary=@/etc/shadow", "https://api.example/health"],
            Unknown,
            options("--data-binary", &equals),
            Some(Read),
        ),
        case(
            "C04 dash",
            "/usr/bin/touch",
            json!({ "args": [word()] }),
            &["--", "-rf"],
            Dash,
            json!({ "args": [{ "path": { "access": "write", "beneath": "/srv" } }] }),
            None,
        ),
    ]
}

fn accepting(program: &str, rule: &Value) -> Value {
    json!({ "program": program, "allow": [rule], "cwd": { "fixed": "/srv/in" },
        "accept": ["shell", "command", "privilege"] })
}

#[test]
fn dangerous_options_are_denied_and_allowed_only_by_their_own_line() {
    let mut wrong = Vec::new();
    for case in everyday() {
        let texts: Vec<&str> = case.args.iter().map(String::as_str).collect();
        let request = Request::policy("p", &texts);
        let decision = decide(
            &one(
                &json!({ "program": case.program, "allow": [case.rule], "cwd": { "fixed": "/srv/in" } }),
            ),
            &request,
        );
        if code(&decision) != Some(case.code) {
            wrong.push(format!("{}: {decision:?}", case.id));
        }
        let Decision::Denied(denied) = &decision else { continue };
        assert_eq!(denied.rule.as_deref(), Some("p"), "{}", case.id);
        if case.danger.is_some() && denied.danger != case.danger {
            wrong.push(format!("{}: its danger is {:?}", case.id, denied.danger));
        }
        if let Some(control) = control(&case) {
            let decision = decide(
                &one(&accepting(case.program, &control)),
                &Request::policy("p", &control_args(&case)),
            );
            if !decision.is_allowed() {
                wrong.push(format!("{}: its control is denied: {decision:?}", case.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn control(case: &Case) -> Option<Value> {
    let mut rule = merged(&case.rule, &case.control);
    let rule_object = rule.as_object_mut()?;
    // Marks of cases whose arguments need more room in the control.
    let wide = rule_object.remove("args_").is_some() | rule_object.remove("repeat_").is_some();
    if wide {
        let mut operand = any();
        operand["repeat"] = json!(9);
        rule_object.insert("args".into(), json!([operand]));
    }
    Some(rule)
}

/// As the case, without what begins with a dash where the control reads operands.
fn control_args(case: &Case) -> Vec<&str> {
    let args = case.args.iter().map(String::as_str);
    args.filter(|arg| case.id != "B01 exec" || *arg != "-c").collect()
}

#[test]
fn what_is_launched_is_made_of_the_values() {
    let git = json!({ "program": "/usr/bin/git", "cwd": { "beneath": "/srv" }, "allow": [{
        "subcommand": ["fetch"],
        "args": [{ "enum": ["origin", "mirror"] }, { "regex": { "pattern": "[a-z/]+", "max": 64 }, "optional": true, "repeat": 3 }],
        "options": {
            "--depth": { "value": { "int": { "min": 1, "max": 1000 } }, "forms": ["equals", "separate"] },
            "-q": {}, "-v": { "repeat": 2 }, "-j": { "value": { "int": { "min": 1, "max": 8 } }, "forms": ["separate", "joined"] },
        },
        "exclusive": [["-q", "-v"]], "clusters": true,
    }] });
    let policies = one(&git);
    let run = |args: &[&str]| decide(&policies, &Request::policy("p", args));
    let launched = |args: &[&str]| argv(&run(args))[1..].join(" ");
    assert_eq!(launched(&["fetch", "origin"]), "fetch -- origin");
    assert_eq!(
        launched(&["fetch", "origin", "--depth", "5", "main"]),
        "fetch --depth=5 -- origin main"
    );
    assert_eq!(launched(&["fetch", "-j4", "-vv", "--", "origin"]), "fetch -j 4 -v -v -- origin");
    for (args, code_wanted) in [
        (&["fetch"][..], Code::ArgCount),
        (&["fetch", "origin", "a", "b", "c", "d"], Code::ArgCount),
        (&["push", "origin"], Code::Subcommand),
        (&["fetch", "-vvv", "origin"], Code::OptionCount),
        (&["fetch", "-vj4", "origin"], Code::Option),
        (&["fetch", "-q", "-v", "origin"], Code::OptionCount),
        (&["fetch", "--depth=0", "origin"], Code::Value),
        (&["fetch", "--depth=+5", "origin"], Code::Value),
        (&["fetch", "-q=1", "origin"], Code::OptionForm),
        (&["fetch", "-j=4", "origin"], Code::OptionForm),
        (&["fetch", "--depth"], Code::OptionForm),
        (&["fetch", "--dep=5", "origin"], Code::Option),
        // Cyrillic е, a minus sign, an en dash: not the option, and not an operand either.
        (&["fetch", "--dеpth=5", "origin"], Code::Option),
        (&["fetch", "−−depth=5", "origin"], Code::Value),
    ] {
        assert_eq!(code(&run(args)), Some(code_wanted), "{args:?}");
    }
}

#[test]
fn an_embedded_path_is_a_path_like_any_other() {
    let gcc = json!({ "program": "/usr/bin/gcc", "cwd": { "fixed": "/srv/in" }, "allow": [{ "args": [file()], "options": { "-c": {} } }] });
    let decision = decide(&one(&gcc), &Request::policy("p", &["-c", "@/etc/shadow"]));
    assert_eq!(argv(&decision), ["/usr/bin/gcc", "-c", "--", "/srv/in/@/etc/shadow"], "B19");
    let Decision::Allowed(allowed) = decision else { panic!() };
    let open = &allowed.launch.paths[0];
    assert_eq!(
        (open.argument, open.path.root.as_str(), open.path.relative.as_str()),
        (3, "/srv/in", "@/etc/shadow")
    );
}
