//! Launchers that keep a worker's channel for themselves.
//!
//! npm, npx, yarn and pnpm are Node programs: their own runtime takes the descriptor in `NODE_CHANNEL_FD` at start, marks it
//! close-on-exec and removes the variable, so the script they start has no channel and nobody says so. What is sent then waits for
//! ever. A shell hands both on and is fine by itself.

use std::path::Path;
use std::time::Duration;

use ganger_keeper::wire::Plan;

/// How long a worker behind such a launcher may stay silent with a task sent. A script that does get the channel says hello
/// or answers; five seconds is far above any start-up of one.
pub(crate) const SILENT: Duration = Duration::from_secs(5);

/// How long a process may live on after its channel closed before that is held against it: its exit is usually on its way.
pub(crate) const CLOSED: Duration = Duration::from_secs(1);

const LAUNCHERS: [&str; 6] = ["npm", "npx", "yarn", "pnpm", "pnpx", "corepack"];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ash", "busybox"];

/// The launcher of this plan that takes the channel for itself, if there is one.
pub(crate) fn launcher(plan: &Plan) -> Option<String> {
    let program = name_of(&plan.program)?;
    if let Some(found) = as_launcher(program) {
        return Some(found);
    }
    let arguments = plan.argv.iter().skip(1);
    if program == "node" {
        // `node /usr/lib/node_modules/npm/bin/npm-cli.js start`
        return arguments.take(1).find_map(|a| as_launcher(name_of(a)?));
    }
    if SHELLS.contains(&program) {
        let words =
            arguments.flat_map(|a| a.split(|c: char| c.is_whitespace() || ";&|".contains(c)));
        return words.filter_map(name_of).find_map(as_launcher);
    }
    None
}

fn name_of(path: &str) -> Option<&str> {
    Path::new(path).file_name()?.to_str()
}

fn as_launcher(name: &str) -> Option<String> {
    let bare = name.trim_end_matches("-cli.js").trim_end_matches(".cjs").trim_end_matches(".js");
    LAUNCHERS.contains(&bare).then(|| bare.to_owned())
}

/// What the user reads.
pub(crate) fn explain(instance: &str, launcher: Option<&str>, what: &str) -> String {
    match launcher {
        Some(launcher) => format!(
            "{instance} {what}: `{launcher}` is itself a Node program and takes the worker channel (NODE_CHANNEL_FD) for itself, so \
             the script it starts has none; start the script directly, e.g. command = [\"node\", \"worker.js\"]"
        ),
        None => format!(
            "{instance} {what}: the program does not read the channel in GANGER_CHANNEL_FD (NODE_CHANNEL_FD); if a wrapper starts the \
             real worker, start that directly, e.g. command = [\"node\", \"worker.js\"], or use protocol = \"stdio\" or \"command\""
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(argv: &[&str]) -> Plan {
        let json = serde_json::json!({
            "instance": {"name": "w", "slot": 1}, "kind": "worker", "program": argv[0], "argv": argv, "env": [], "cwd": "/",
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn launchers_are_known_however_they_are_started() {
        let found = |argv: &[&str]| launcher(&plan(argv));
        assert_eq!(found(&["/usr/bin/npx", "worker"]).as_deref(), Some("npx"));
        assert_eq!(
            found(&["/usr/bin/node", "/usr/lib/node_modules/npm/bin/npm-cli.js", "start"])
                .as_deref(),
            Some("npm")
        );
        assert_eq!(
            found(&["/bin/sh", "-c", "cd x && exec npm run worker"]).as_deref(),
            Some("npm")
        );
        assert_eq!(found(&["/usr/bin/node", "worker.js", "npm"]), None);
        assert_eq!(found(&["/bin/sh", "-c", "exec node worker.js"]), None);
        assert_eq!(found(&["/usr/bin/python3", "yarn"]), None);
    }

    #[test]
    fn the_text_names_cause_and_way_out() {
        let text = explain("w#1", Some("npx"), "has not used its channel");
        assert!(text.contains("`npx`") && text.contains("command = [\"node\", \"worker.js\"]"));
    }
}
