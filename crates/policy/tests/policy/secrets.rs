//! A secret given where no rule expects it is refused, and still not shown: not in reasons, not in what would allow it.

use ganger_policy::{Decision, Request};
use serde_json::{Value, json};

use super::{decide, one};

fn login() -> Value {
    let secret = json!({ "secret": { "max": 32 } });
    json!({
        "program": "/usr/bin/vault",
        "allow": [
            { "id": "login", "subcommand": ["login"], "options": {
                "--token": { "value": secret, "forms": ["equals"] },
                "-p": { "value": secret, "forms": ["separate"] },
                "-v": {} } },
            { "id": "status", "subcommand": ["status"], "args": [{ "enum": ["short", "long"], "optional": true }] },
        ],
    })
}

fn is_told(policies: &ganger_policy::Policies, args: &[&str]) -> String {
    let request = Request::policy("p", args);
    let decision = decide(policies, &request);
    let Decision::Denied(denied) = decision else { panic!("{args:?} is allowed") };
    let shown: Vec<_> = policies.veiled(&request).iter().map(|arg| arg.shown()).collect();
    format!("{}; {:?}; {}", denied.reason, denied.allow, shown.join(" "))
}

#[test]
fn a_secret_in_a_form_that_is_not_allowed_is_not_shown() {
    let policies = one(&login());
    for args in [
        &["login", "--token", "hunter2"][..],
        &["login", "--tok=hunter2"],
        &["login", "--tokenhunter2"],
        &["login", "--tokn=hunter2"],
        &["login", "--tokn", "hunter2"],
        &["login", "-phunter2"],
        &["login", "-p=hunter2"],
        &["login", "-vphunter2"],
        &["login", "-vp", "hunter2"],
        &["status", "--token", "hunter2"],
        &["status", "-phunter2"],
        &["status", "-p", "hunter2", "more"],
        &["login", "-p", "hunter2\n"],
    ] {
        let told = is_told(&policies, args);
        assert!(!told.contains("hunter2"), "{args:?}: {told}");
    }
    // Whoever has to mend the request still reads what is no secret's.
    assert!(is_told(&policies, &["status", "tall"]).contains("tall"));
    assert!(is_told(&policies, &["login", "--colour"]).contains("--colour"));

    let mut operand = login();
    operand["allow"][0]["args"] = json!([{ "secret": { "max": 4 } }]);
    let policies = one(&operand);
    for args in [
        &["login", "hunter2"][..],
        &["login", "x", "hunter2"],
        &["login", "-hunter2"],
        &["status", "hunter2"],
        &["hunter2"],
    ] {
        let told = is_told(&policies, args);
        assert!(!told.contains("hunter2"), "{args:?}: {told}");
    }
    let mut none = login();
    none["allow"].as_array_mut().unwrap().remove(0);
    assert!(is_told(&one(&none), &["status", "hunter2"]).contains("hunter2"), "the control");
}
