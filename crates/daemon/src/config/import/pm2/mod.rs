//! PM2's ecosystem files: JSON (with comments), YAML, and JavaScript by way of node.

mod app;
mod interpreter;
mod json;
pub(super) mod keys;
mod node;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value};

use super::super::model::SourceFile;
use super::super::walk::Walk;
use super::draft::Draft;
use super::{Choice, name_for};
use app::App;

/// Reads an ecosystem file; what is wrong is reported to `walk`.
pub(super) fn draft(
    path: &Path,
    text: &str,
    choice: &Choice,
    walk: &mut Walk<'_>,
    _sources: &mut Vec<SourceFile>,
) -> Draft {
    let mut draft = Draft::default();
    let value = match parse(path, text, walk) {
        Ok(value) => value,
        Err(why) => {
            walk.file_error(why);
            return draft;
        }
    };
    let Some(apps) = apps(value, &mut draft, walk) else { return draft };
    let mut namespaces: Vec<(String, Vec<String>)> = Vec::new();
    let mut env_found = false;
    for (index, value) in apps.into_iter().enumerate() {
        let Value::Object(map) = value else {
            walk.file_error(format!("app {} is not an object of keys", index + 1));
            continue;
        };
        let mut app = App { map: &map, label: label(&map, index), notes: &mut draft.notes, walk };
        env_found |=
            choice.env.as_ref().is_some_and(|name| map.contains_key(&format!("env_{name}")));
        let Some(mut service) = app.service(choice) else { continue };
        let namespace = app.text("namespace").filter(|name| name != "default");
        let wanted = app.label.clone();
        service.name = name_for(&wanted, &|name| draft.services.iter().any(|s| s.name == name));
        service.comment = (service.name != wanted).then_some(wanted);
        if let Some(namespace) = namespace {
            match namespaces.iter_mut().find(|(name, _)| *name == namespace) {
                Some((_, members)) => members.push(service.name.clone()),
                None => namespaces.push((namespace, vec![service.name.clone()])),
            }
        }
        draft.services.push(service);
    }
    if let Some(name) = choice.env.as_ref().filter(|_| !env_found) {
        walk.file_error(format!("no app has `env_{name}`, which `--env {name}` asks for"));
    }
    for (namespace, members) in namespaces {
        let taken = |name: &str| {
            draft.services.iter().any(|s| s.name == name)
                || draft.groups.iter().any(|(group, _)| group == name)
        };
        let name = name_for(&namespace, &taken);
        draft.groups.push((name, members));
    }
    draft
}

/// The app's name as PM2 has it: `name`, else the script's without its ending.
fn label(app: &Map<String, Value>, index: usize) -> String {
    if let Some(name) = app.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let script = ["script", "cmd", "command"].iter().find_map(|key| app.get(*key)?.as_str());
    let file = script.and_then(|script| script.split_whitespace().next());
    let stem = file.and_then(|file| Path::new(file).file_stem());
    stem.map_or_else(|| format!("app-{}", index + 1), |stem| stem.to_string_lossy().into_owned())
}

fn parse(path: &Path, text: &str, walk: &Walk<'_>) -> Result<Value, String> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("json") => json::parse(text),
        Some("yaml" | "yml") => serde_saphyr::from_str::<Value>(text)
            .map_err(|error| format!("this is not YAML: {}", first_line(&error.to_string()))),
        _ => node::evaluate(path, walk.env),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// The list of apps: `apps` as a list or one object, a list, or one app as it is.
fn apps(value: Value, draft: &mut Draft, walk: &mut Walk<'_>) -> Option<Vec<Value>> {
    let mut map = match value {
        Value::Array(list) => return Some(list),
        Value::Object(map) => map,
        _ => {
            walk.file_error("this is no ecosystem file: expected `apps: […]`");
            return None;
        }
    };
    let is_app = ["script", "cmd", "command"].iter().any(|key| map.contains_key(*key));
    match map.remove("apps") {
        Some(apps) => {
            keys::TOP.note(map.keys().map(String::as_str), "", &mut draft.notes);
            match apps {
                Value::Array(list) => Some(list),
                one @ Value::Object(_) => Some(vec![one]),
                _ => {
                    walk.file_error("`apps` is neither a list nor an object");
                    None
                }
            }
        }
        None if is_app => Some(vec![Value::Object(map)]),
        None => {
            let other = ["services", "processes"].iter().find(|key| map.contains_key(**key));
            let why = other.map_or(String::new(), |key| {
                format!(" (with `{key}` it looks like a compose file, which ganger does not read)")
            });
            walk.file_error(format!("this is no ecosystem file: it has no `apps`{why}"));
            None
        }
    }
}
