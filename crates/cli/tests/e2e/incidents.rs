//! An attack from the request to the incident, the lock-out, the hook, `why` and the report.

use crate::{SOON, folder};

const CONFIG: &str = r#"
version = 1
[policy.find]
program = "/usr/bin/find"
args = [{ path = "read", beneath = "/usr" }]
options = { "-maxdepth" = { int = "0..1" } }
order = "args-first"
sandbox = "none"
[policy.idle]
program = "/bin/true"
sandbox = "none"
[incident]
lock_out = { severity = "high", time = "1h" }
hook = { command = ["/usr/bin/tee", "HOOKED"], severity = "medium" }
"#;

#[test]
fn an_attack_is_found_told_locked_out_and_reported() {
    let it = folder();
    let hooked = it.path().join("hooked");
    it.write("ganger.toml", &CONFIG.replace("HOOKED", hooked.to_str().unwrap()));
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let mut events = it.follow(&["events", "-f", "--json"]);
    let _ = it.ganger(&["exec", "idle"]).with_code(0);
    let denied = it.ganger(&["exec", "find", "--json", "--", "/usr", "-exec", "id"]).with_code(6);
    let run = denied.json()["run_id"].as_str().unwrap().to_owned();
    let found = events.until("the incident", SOON, |line| line.contains("\"type\":\"incident\""));
    assert!(found.contains("high: dangerous argument"), "{found}");
    events.until("the hook", SOON, |line| line.contains("\"type\":\"incident.hook\""));
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(hooked).unwrap()).unwrap();
    assert_eq!((&told["rule"], &told["change"]), (&"I05".into(), &"opened".into()));

    // From now on nothing runs, until somebody closes it.
    let said = it.ganger(&["exec", "idle"]).with_code(6);
    assert!(said.err.contains("locked out"), "{}", said.err);
    let list = it.ganger(&["incident", "list", "--json"]).with_code(0).json();
    let incident = &list["incidents"][0];
    let word = |key: &str| incident[key].as_str().unwrap().to_owned();
    assert_eq!(
        (word("rule"), word("action"), word("state")),
        ("I05".into(), "locked_out".into(), "open".into())
    );
    let _ = it.ganger(&["incident", "close", &word("id"), "-n", "that was me"]).with_code(0);
    let _ = it.ganger(&["exec", "idle"]).with_code(0);
    let shown = it.ganger(&["incident", "show", &word("id")]).with_code(0).out;
    assert!(shown.contains("that was me") && shown.contains("-exec"), "{shown}");

    let why = it.ganger(&["why", &run]).with_code(0).out;
    assert!(why.contains("denied (option)") && why.contains("argument 1: -exec"), "{why}");
    let report = it.ganger(&["report", "security", "--format", "json"]).with_code(0).json();
    assert_eq!((&report["log"]["ok"], &report["totals"]["runs"]), (&true.into(), &2.into()));
    assert_eq!(report["incidents"]["by_state"][0]["name"], "closed");
    assert_eq!(report["unused_rules"], serde_json::json!(["find"]));
    let page = it.path().join("report.html");
    let _ = it.ganger(&["report", "security", "-o", page.to_str().unwrap()]).with_code(0);
    assert!(std::fs::read_to_string(page).unwrap().starts_with("<!doctype html>"));

    // Without a daemon the command writes the log itself.
    let _ = it.ganger(&["down"]).with_code(0);
    let _ = it.ganger(&["incident", "ack", &word("id")]).with_code(0);
    let _ = it.ganger(&["audit", "verify"]).with_code(0);
}
