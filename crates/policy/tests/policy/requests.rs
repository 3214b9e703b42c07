//! Input that is refused before any rule, text that only looks like a shell's, environment, folders, secrets, deny rules.

use ganger_policy::{ARG_BYTES_MAX, ARGS_MAX, Code, Decision, Input, Policies, ProbeKind, Request};
use serde_json::{Value, json};

use super::{argv, code, decide, one, policy};

fn echo() -> Value {
    let any = json!({ "regex": { "pattern": "(?s)[^-].*", "max": 60000 }, "repeat": 4096, "optional": true });
    json!({ "program": "/usr/bin/printf", "allow": [{ "args": [any] }] })
}

#[test]
fn what_is_no_argument_is_refused_before_any_rule() {
    let policies = one(&echo());
    let run =
        |args: Vec<Vec<u8>>| decide(&policies, &Request { args, ..Request::policy("p", &[]) });
    assert!(run(vec![b"x".to_vec(); ARGS_MAX]).is_allowed(), "control");
    assert_eq!(code(&run(vec![b"x".to_vec(); ARGS_MAX + 1])), Some(Code::ArgLimit), "B20");
    assert_eq!(code(&run(vec![b"x".to_vec(); 100_000])), Some(Code::ArgLimit), "B20");
    assert_eq!(code(&run(vec![vec![b'x'; 2 << 20]])), Some(Code::ArgLimit), "B20");
    assert_eq!(code(&run(vec![vec![b'x'; ARG_BYTES_MAX]; 5])), Some(Code::ArgLimit), "B20");
    for bad in [
        &b"a\0b"[..],
        b"\x1b[2J",
        b"a\x7f",
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xc2\x9b31m",
        b"\x07",
    ] {
        let decision = run(vec![b"ok".to_vec(), bad.to_vec()]);
        assert_eq!(code(&decision), Some(Code::Bytes), "C03, C05 {bad:?}");
        let Decision::Denied(denied) = decision else { panic!() };
        assert_eq!(denied.argument, Some(1));
        assert!(denied.reason.chars().all(|c| !c.is_control()));
    }
}

#[test]
fn a_shells_characters_are_text_and_are_told() {
    let policies = one(&echo());
    let cases = [
        ("a;id", Some(ProbeKind::Separator)),
        ("a&&id", Some(ProbeKind::Separator)),
        ("a|id", Some(ProbeKind::Separator)),
        ("a>b<c", Some(ProbeKind::Separator)),
        ("$(id)", Some(ProbeKind::Substitution)),
        ("`id`", Some(ProbeKind::Substitution)),
        ("${IFS}", Some(ProbeKind::Substitution)),
        ("a\u{202e}b", Some(ProbeKind::Invisible)),
        ("a\u{200b}b", Some(ProbeKind::Invisible)),
        ("../../x", Some(ProbeKind::Traversal)),
        ("−rf", Some(ProbeKind::Confusable)),
        // C10: nothing expands, and nothing is odd about it.
        ("*", None),
        ("~root", None),
        ("{a,b}", None),
        ("grüße 東京", None),
    ];
    for (text, probe) in cases {
        let decision = decide(&policies, &Request::policy("p", &["x", text]));
        assert_eq!(argv(&decision), ["/usr/bin/printf", "--", "x", text], "C01, C10");
        let Decision::Allowed(allowed) = decision else { panic!() };
        assert_eq!(allowed.probes.first().map(|probe| probe.kind), probe, "{text:?}");
        assert!(allowed.probes.iter().all(|probe| probe.argument == 1));
    }
    // Lines are for values that say so.
    for text in ["a\nid", "a\r\nid", "a\tb", "a\n{\"decision\":\"allow\"}"] {
        let decision = decide(&policies, &Request::policy("p", &[text]));
        let Decision::Denied(denied) = decision else { panic!("C01 {text:?}") };
        assert_eq!((denied.code, denied.allow.as_deref()), (Code::Value, Some("lines = true")));
        assert_eq!(denied.probes.len(), usize::from(text != "a\tb"));
        assert!(!denied.reason.contains(['\n', '\r', '\t']), "C08");
        let mut lines = echo();
        lines["allow"][0]["args"][0]["regex"]["lines"] = json!(true);
        assert_eq!(argv(&decide(&one(&lines), &Request::policy("p", &[text])))[2], text);
    }
}

#[test]
fn the_environment_is_what_the_policy_says() {
    let mut p = echo();
    p["env"] = json!({ "set": { "LANG": "C.UTF-8", "GIT_PAGER": "cat" }, "pass": { "TERM": { "regex": { "pattern": "[a-z0-9-]+", "max": 32 } },
        "BUILD_ID": null, "MY_TOKEN": null }, "refuse": ["*TOKEN*"] });
    let policies = one(&p);
    let run = |name: &str, value: &str| {
        let env = [(name.to_owned(), value.to_owned())].into();
        decide(&policies, &Request { env, ..Request::policy("p", &[]) })
    };
    let Decision::Allowed(allowed) = run("TERM", "xterm") else { panic!() };
    let env: Vec<_> =
        allowed.launch.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        env,
        ["GIT_PAGER=cat", "HOME=/nonexistent", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "TERM=xterm"],
        "D02, D06, D09"
    );
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GLIBC_TUNABLES",
        "PATH",
        "IFS",
        "BASH_ENV",
        "ENV",
        "SHELLOPTS",
        "PS4",
        "BASH_FUNC_x%%",
        "NODE_OPTIONS",
        "PYTHONSTARTUP",
        "PYTHONPATH",
        "PYTHONINSPECT",
        "PERL5OPT",
        "PERL5LIB",
        "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "DOTNET_STARTUP_HOOKS",
        "HOME",
        "TMPDIR",
        "LOCALDOMAIN",
        "HOSTALIASES",
        "RES_OPTIONS",
        "PAGER",
        "LESSOPEN",
        "GIT_SSH_COMMAND",
        "EDITOR",
    ] {
        let decision = run(name, "x");
        assert_eq!(code(&decision), Some(Code::EnvDanger), "D01-D04, D09, D10 {name}");
        let Decision::Denied(denied) = decision else { panic!() };
        assert_eq!(denied.probes.last().map(|probe| probe.kind), Some(ProbeKind::Environment));
        // Nor can a policy let it in by mistake.
        let mut wide = p.clone();
        wide["env"]["pass"][name] = Value::Null;
        assert!(Policies::new([("p".into(), policy(&wide))].into()).is_err(), "{name}");
    }
    for (name, value, wanted) in [
        ("MY_TOKEN", "x", Code::Env),
        ("OTHER", "x", Code::Env),
        ("TERM", "XTERM;", Code::Env),
        ("BUILD_ID", "a\nb", Code::Env),
        ("BUILD_ID", "a\0b", Code::Bytes),
        ("", "x", Code::Bytes),
        ("A=B", "x", Code::Bytes),
    ] {
        assert_eq!(code(&run(name, value)), Some(wanted), "D08 {name:?}");
    }
    assert!(run("BUILD_ID", "7").is_allowed());
}

#[test]
fn folders_and_stdin_are_beneath_what_is_allowed() {
    let mut p = echo();
    p["cwd"] = json!({ "beneath": "/srv/work" });
    p["stdin"] = json!({ "file": "/srv/in" });
    p["allow"][0]["args"][0] =
        json!({ "path": { "access": "write", "beneath": "/srv/work" }, "optional": true });
    let policies = one(&p);
    let run = |cwd: Option<&str>, stdin: Input, args: &[&str]| {
        decide(
            &policies,
            &Request { cwd: cwd.map(Into::into), stdin, ..Request::policy("p", args) },
        )
    };
    let Decision::Allowed(allowed) =
        run(Some("/srv/work/a"), Input::File("/srv/in/list".into()), &[])
    else {
        panic!()
    };
    assert_eq!(allowed.launch.cwd.absolute(), "/srv/work/a");
    let sub = run(Some("/srv/work/a"), Input::None, &["--", "-b\u{20}c"]);
    assert_eq!(argv(&sub)[2], "/srv/work/a/-b c", "E13");
    for cwd in ["/", "/srv", "/srv/workshop", "/srv/work/../in", "/proc/self/cwd", ""] {
        assert_eq!(code(&run(Some(cwd), Input::None, &[])), Some(Code::Cwd), "E05 {cwd:?}");
    }
    // A relative path among the arguments begins with it: lines would get into an argument that may have none.
    for text in ["/srv/work/a\nb", "/srv/work/a\tb", "a\rb"] {
        let file = Input::File(text.replace("work", "in"));
        assert_eq!(code(&run(Some(text), Input::None, &["c"])), Some(Code::Bytes), "{text:?}");
        assert_eq!(code(&run(None, file, &["c"])), Some(Code::Bytes), "{text:?}");
    }
    for path in [
        "../../etc/passwd",
        "/etc/shadow",
        "/srv/work/../../etc/shadow",
        "/srv/workx",
        "",
        "/srv/in/x",
    ] {
        assert_eq!(code(&run(None, Input::None, &[path])), Some(Code::Path), "E01 {path:?}");
    }
    let long = "n".repeat(256);
    assert_eq!(code(&run(None, Input::None, &[&long])), Some(Code::Path), "E13");
    assert!(run(None, Input::None, &[&long[1..]]).is_allowed(), "E13 control");
    assert_eq!(code(&run(None, Input::File("/etc/shadow".into()), &[])), Some(Code::Stdin));
    assert_eq!(code(&run(None, Input::Bytes(1), &[])), Some(Code::Stdin));
}

#[test]
fn secrets_are_launched_and_never_shown() {
    let mut p = echo();
    let secret = json!({ "secret": { "max": 32 } });
    p["allow"][0]["args"] = json!([secret]);
    p["allow"][0]["options"] = json!({ "--key": { "value": secret, "forms": ["equals"] } });
    let policies = one(&p);
    let decision = decide(&policies, &Request::policy("p", &["--key=hunter2", "swordfish"]));
    let Decision::Allowed(allowed) = &decision else { panic!("{decision:?}") };
    assert_eq!(allowed.launch.argv[1].bytes(), b"--key=hunter2");
    assert_eq!(allowed.launch.argv[3].bytes(), b"swordfish");
    assert!(allowed.launch.argv[1].is_secret() && allowed.launch.argv[3].is_secret());
    let long = "swordfish".repeat(9);
    let denied = decide(&policies, &Request::policy("p", &[&long]));
    assert!(!denied.is_allowed());
    for shown in
        [&decision, &denied].map(|d| format!("{d:?} {}", serde_json::to_string(d).unwrap()))
    {
        assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "J13 {shown}");
    }
}

#[test]
fn deny_rules_win_over_every_policy_of_the_program() {
    let word =
        json!({ "regex": { "pattern": "[a-z.]+", "max": 32 }, "repeat": 3, "optional": true });
    let git = |deny: Value| {
        json!({ "program": "/usr/bin/git", "deny": deny, "allow": [{ "args": [word], "options": {
            "-f": {}, "-q": {}, "--force": {}, "--depth": { "value": { "int": { "min": 1, "max": 9 } }, "forms": ["equals", "separate"] }, "-m": { "value": { "regex": { "pattern": "[a-z -]+", "max": 64 } }, "forms": ["equals", "joined"] } }, "clusters": true }] })
    };
    let open = git(json!([]));
    let closed = git(json!([
        { "id": "no-force", "options": ["-f", "--force"], "subcommand": ["push"], "reason": "history stays" },
        { "id": "no-prod", "pattern": "prod" },
        { "id": "no-five", "pattern": "^--depth=5$" },
        { "id": "no-quiet-force", "pattern": "^-q$", "options": ["-f"], "subcommand": ["pull"] },
    ]));
    let alone = one(&open);
    let both = super::many(&json!({ "a": open, "z": closed }), &super::Machine::default());
    for (args, rule) in [
        (&["push", "-f"][..], Some("z/no-force")),
        (&["--force", "push"], Some("z/no-force")),
        (&["push", "origin", "-mf"], None),
        (&["push", "-m=--force"], None),
        (&["fetch", "-f"], None),
        // However it is spelled: what is launched counts.
        (&["fetch", "--depth=5"], Some("z/no-five")),
        (&["fetch", "--depth", "5"], Some("z/no-five")),
        (&["pull", "-qf"], Some("z/no-quiet-force")),
        (&["push", "my.prod.x"], Some("z/no-prod")),
        (&["push", "-mx prod y"], Some("z/no-prod")),
    ] {
        assert!(decide(&alone, &Request::policy("p", args)).is_allowed(), "control {args:?}");
        for request in [Request::policy("a", args), Request::program("/usr/bin/git", args)] {
            let decision = decide(&both, &request);
            assert_eq!(code(&decision), rule.map(|_| Code::DenyRule), "{args:?} {decision:?}");
            assert!(rule.is_none() || decision.rule() == rule);
        }
    }
    let Decision::Denied(denied) = decide(&both, &Request::policy("a", &["push", "-f"])) else {
        panic!()
    };
    assert_eq!(denied.reason, "history stays");
}
