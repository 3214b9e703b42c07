//! Policies are decided from the config file, without a daemon.

use crate::folder;

const CONFIG: &str = r#"
[policy.show]
program = "/bin/cat"
args = [{ path = "read", beneath = "/srv/in", repeat = 3 }]
options = { "-n" = "flag" }
cwd = { beneath = "/srv/in" }
examples = { allow = [["a"]], deny = [["/etc/shadow"]] }

[policy.tidy]
program = "/usr/bin/find"
args = [{ path = "read", beneath = "/srv/in" }]
options = { "-delete" = "flag" }
order = "args-first"
"#;

#[test]
fn verdicts_reasons_and_findings_without_a_daemon() {
    let it = folder();
    it.write("ganger.toml", CONFIG);
    let said = it.ganger(&["policy", "test", "show", "--", "-n", "a;b"]).with_code(0);
    assert!(said.out.contains("runs     /bin/cat -n -- \"/srv/in/a;b\""), "{}", said.out);
    assert!(said.out.contains("argument 2 has a shell's separator"), "{}", said.out);
    let said = it.ganger(&["policy", "test", "show", "--", "/etc/shadow"]).with_code(6);
    assert!(said.out.starts_with("denied at show (path)"), "{}", said.out);
    let said = it.ganger(&["policy", "explain", "--json", "--", "find", ".", "-exec"]).with_code(6);
    let json = said.json();
    assert_eq!(
        (&json["v"], &json["verdict"], &json["code"]),
        (&1.into(), &"denied".into(), &"path".into())
    );
    let said = it.ganger(&["policy", "explain", "--json", "--", "find", "/srv/in", "-exec"]);
    let json = said.with_code(6).json();
    assert_eq!(
        (&json["danger"], &json["rule"], &json["argument"]),
        (&"command".into(), &"tidy".into(), &1.into())
    );
    assert!(
        it.ganger(&["policy", "explain", "--", "/bin/sh", "-c", "id"])
            .with_code(6)
            .out
            .contains("no policy")
    );
    it.write("twice.json", r#"{"policy":"show","args":["a"],"args":["/etc/shadow"]}"#);
    let said = it.ganger(&["policy", "test", "--request", "twice.json"]).with_code(6);
    assert!(said.err.contains("duplicate field"), "{}", said.err);
    let said = it.ganger(&["policy", "lint"]).with_code(3);
    assert!(
        said.out.contains("warning: tidy: `-delete` of find writes other files [write]"),
        "{}",
        said.out
    );
    assert_eq!(
        it.ganger(&["policy", "list", "--json"]).with_code(0).json()["policies"][0]["name"],
        "show"
    );
    let _ = it.ganger(&["policy", "test", "ghost"]).with_code(4);
    it.write("ganger.toml", &CONFIG.replace("deny = [[", "deny = [[\"a\"], ["));
    let said = it.ganger(&["policy", "list"]).with_code(3);
    assert!(said.err.contains("must be denied, but rule `show` allows it"), "{}", said.err);
}
