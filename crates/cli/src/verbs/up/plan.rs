//! What an `up` changes: `--dry-run`, and what there is to wait for.

use ganger_api::{Applied, Change, ChangeAction, ChangedKey};
use ganger_core::Effect;
use ganger_daemon::config::Config;

use crate::error::CliError;
use crate::text;
use crate::ui::Ui;

/// A value that is longer is cut: the file has it whole.
const VALUE_MAX: usize = 40;

/// Without a daemon everything is new.
pub(super) fn all_new(config: &Config) -> Vec<Change> {
    let services = config.services.keys().map(|name| ("service", name, Some(Effect::Start)));
    let queues = config.queues.keys().map(|name| ("queue", name, None));
    let schedules = config.schedules.keys().map(|name| ("schedule", name, None));
    let groups = config.groups.keys().map(|name| ("group", name, None));
    let pools = config.pools.keys().map(|name| ("pool", name, None));
    let policies = config.policies.keys().map(|name| ("policy", name, None));
    let all = services.chain(queues).chain(schedules).chain(groups).chain(pools).chain(policies);
    let change = |(kind, name, effect): (&str, &String, Option<Effect>)| Change {
        action: ChangeAction::Add,
        kind: kind.to_owned(),
        name: name.clone(),
        effect,
        keys: Vec::new(),
    };
    all.map(change).collect()
}

/// Services that are being reloaded by it.
pub(super) fn rolls(applied: &Applied) -> Vec<String> {
    let rolls = applied.changes.iter().filter(|change| change.effect == Some(Effect::Roll));
    rolls.map(|change| change.name.clone()).collect()
}

/// Prints what would change.
pub(super) fn show(applied: &Applied, json: bool, ui: &Ui) -> Result<(), CliError> {
    if json {
        return ui.json(applied);
    }
    for warning in &applied.warnings {
        ui.talk(&format!("warning: {warning}"));
    }
    let lines: Vec<String> = applied.changes.iter().filter_map(line).collect();
    if lines.is_empty() {
        ui.talk("nothing would change");
    }
    let mut out = ui.out();
    for line in lines {
        out.line(&line)?;
    }
    out.done()
}

/// One change; nothing for what stays as it is.
pub(super) fn line(change: &Change) -> Option<String> {
    let mark = match change.action {
        ChangeAction::Add => '+',
        ChangeAction::Change => '~',
        ChangeAction::Remove => '-',
        ChangeAction::Keep => return None,
    };
    let effect = change.effect.map(|effect| match effect {
        Effect::Adjust => ": no restart",
        Effect::Unchanged => ": under way",
        Effect::Start => ": start",
        Effect::Restart => ": restart",
        Effect::Roll => ": roll",
        Effect::Stop => ": stop",
    });
    let keys: Vec<String> = change.keys.iter().map(key).collect();
    let keys = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) };
    let Change { kind, name, .. } = change;
    Some(text::printable(&format!("{mark} {kind} {name}{}{keys}", effect.unwrap_or_default())))
}

fn key(changed: &ChangedKey) -> String {
    let ChangedKey { key, from, to, hidden } = changed;
    let shown = |value: &Option<serde_json::Value>| match value {
        None => "unset".to_owned(),
        Some(value) => {
            let text = value.to_string();
            match text.char_indices().nth(VALUE_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    };
    if *hidden { key.clone() } else { format!("{key}: {} → {}", shown(from), shown(to)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_in_a_line() {
        let line = |value| line(&serde_json::from_value(value).unwrap());
        let roll = line(json!({
            "action": "change", "kind": "service", "name": "web", "effect": "roll",
            "keys": [{"key": "env.TOKEN", "hidden": true}, {"key": "replicas", "from": 2, "to": 3},
                     {"key": "port", "to": 80}],
        }));
        let roll = roll.as_deref();
        assert_eq!(
            roll,
            Some("~ service web: roll (env.TOKEN, replicas: 2 → 3, port: unset → 80)")
        );
        let gone = json!({"action": "remove", "kind": "service", "name": "old", "effect": "stop"});
        assert_eq!(line(gone).as_deref(), Some("- service old: stop"));
        assert_eq!(line(json!({"action": "keep", "kind": "queue", "name": "q"})), None);
    }
}
