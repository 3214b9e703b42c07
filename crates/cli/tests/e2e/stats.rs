//! What processes cost, by the real binary.

use crate::{SOON, folder};

/// Up for so long it has been looked at several times.
const CONFIG: &str = r#"
version = 1
[service.busy]
command = ["sh", "-c", "while :; do :; done"]
ready = { uptime = "4s" }
[service.short]
command = ["sh", "-c", "exit 3"]
restart = "never"
"#;

#[test]
fn costs_are_told_kept_and_marked() {
    let it = folder();
    it.write("ganger.toml", CONFIG);
    let _ = it.ganger(&["up", "-d"]).with_code(0);
    let mut events = it.follow(&["events", "-f", "--json"]);
    let exit = |line: &str| line.contains("\"type\":\"instance.exit\"") && line.contains("short");
    let line = events.until("an exit", SOON, exit);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["exit"]["end"], serde_json::json!({"how": "exited", "code": 3}));
    assert!(event["exit"]["usage"]["peak_rss"].as_u64().unwrap() > 0);
    let ready = |line: &str| line.contains("\"type\":\"instance.ready\"") && line.contains("busy");
    events.until("it is up", SOON, ready);

    let told = it.ganger(&["stats", "busy", "--json"]).with_code(0).out;
    let stats: serde_json::Value = serde_json::from_str(&told).unwrap();
    let cpu = &stats["series"]["cpu"];
    assert_eq!((&stats["v"], &cpu["unit"]), (&1.into(), &"percent".into()));
    assert!(cpu["p95"].as_f64().unwrap() > 0.0, "{told}");
    assert!(stats["instances"][0]["series"]["memory"]["last"].as_f64().unwrap() > 0.0);
    let table = it.ganger(&["stats"]).with_code(0).out;
    assert!(["NAME", "host", "busy"].iter().all(|word| table.contains(word)), "{table}");
    let marks = it.ganger(&["stats", "host", "--metric", "load"]).with_code(0).out;
    assert!(marks.contains("load"), "{marks}");
    let unknown = it.ganger(&["stats", "bussy"]).with_code(4).err;
    assert!(unknown.contains("did you mean `busy`?"), "{unknown}");
    let unknown = it.ganger(&["stats", "busy", "--metric", "cpus"]).with_code(4).err;
    assert!(unknown.contains("did you mean `cpu`?"), "{unknown}");
    let _ = it.ganger(&["down"]).with_code(0);
}
