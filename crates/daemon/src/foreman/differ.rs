//! Which keys of two versions of a thing differ.

use std::collections::BTreeSet;

use ganger_api::ChangedKey;
use serde::Serialize;
use serde_json::{Map, Value};

/// Where variables stand: their values may be secrets, and names say enough.
const VARIABLES: &str = "env.";

/// The keys whose values differ, in order, those of tables as `table.key`; of the environment each variable, without its
/// values.
pub(super) fn difference<T: Serialize>(old: Option<&T>, new: Option<&T>) -> Vec<ChangedKey> {
    let mut list = Vec::new();
    compare("", &table(old), &table(new), &mut list);
    list
}

fn compare(
    above: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    list: &mut Vec<ChangedKey>,
) {
    for name in names(old, new) {
        let key = format!("{above}{name}");
        let secret = above == VARIABLES;
        match (old.get(name), new.get(name)) {
            (from, to) if from == to => {}
            (Some(Value::Object(from)), Some(Value::Object(to))) => {
                compare(&format!("{key}."), from, to, list);
            }
            _ if secret => list.push(hidden(key)),
            (from, to) => {
                let (from, to) = (from.cloned(), to.cloned());
                list.push(ChangedKey { key, from, to, hidden: false });
            }
        }
    }
}

/// A key whose values are not shown.
pub(super) fn hidden(key: String) -> ChangedKey {
    ChangedKey { key, from: None, to: None, hidden: true }
}

fn table<T: Serialize>(value: Option<&T>) -> Map<String, Value> {
    match value.map(serde_json::to_value) {
        Some(Ok(Value::Object(table))) => table,
        _ => Map::new(),
    }
}

fn names<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    a.keys().chain(b.keys()).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_told_and_secrets_are_not() {
        let old = json!({"stop": {"signal": 15, "timeout": "5s"}, "replicas": 2, "command": ["a"], "env": {"TOKEN": "old", "SAME": "1"}});
        let new = json!({"stop": {"signal": 15, "timeout": "6s"}, "replicas": 3, "command": ["a"], "env": {"TOKEN": "new", "SAME": "1", "MORE": "x"}, "port": 80});
        let keys = difference(Some(&old), Some(&new));
        let names: Vec<&str> = keys.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(names, ["env.MORE", "env.TOKEN", "port", "replicas", "stop.timeout"]);
        assert!(keys[..2].iter().all(|one| one.hidden && one.from.is_none() && one.to.is_none()));
        assert_eq!((&keys[2].from, &keys[2].to), (&None, &Some(json!(80))));
        assert_eq!((&keys[3].from, &keys[3].to), (&Some(json!(2)), &Some(json!(3))));
        assert_eq!(difference(Some(&old), Some(&old)), []);
    }
}
