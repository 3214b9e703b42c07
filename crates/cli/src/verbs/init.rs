//! `ganger init`: a short, commented ganger.toml made from what the folder holds. Never overwrites.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::error::{CliError, Kind};
use crate::text;
use crate::ui::Ui;

/// `init`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The file it writes.
const FILE: &str = "ganger.toml";
/// More services than this get one line each: the file is to be read at a glance (25 lines).
const MOST_SECTIONS: usize = 4;

/// A service found in the folder.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    name: String,
    /// `command = […]` or `shell = "…"`.
    runs: String,
    from: &'static str,
}

pub(crate) fn run(_args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let folder = match &ui.globals().file {
        Some(given) if given.is_dir() => given.clone(),
        _ => std::env::current_dir()?,
    };
    let found = look(&folder);
    let content = content(&found);
    write_new(&folder.join(FILE), &content)?;
    let lines = text::count(content.lines().count(), "line");
    if found.is_empty() {
        ui.talk(&format!("wrote {FILE} ({lines}) with an example; put your own command in"));
    } else {
        let names: Vec<_> = found.iter().map(|f| format!("{} ({})", f.name, f.from)).collect();
        ui.talk(&format!("wrote {FILE} ({lines}): {}", names.join(", ")));
    }
    ui.talk("next: ganger up");
    Ok(ExitCode::SUCCESS)
}

fn write_new(path: &Path, content: &str) -> Result<(), CliError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let wrote = file.and_then(|mut file| file.write_all(content.as_bytes()));
    wrote.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            CliError::new(Kind::Conflict, format!("{} exists already", path.display()))
                .help("`ganger validate` checks it; delete it first to have a new one")
        }
        _ => CliError::new(Kind::Failed, format!("can't write {}: {error}", path.display())),
    })
}

/// The first kind of project file that says what to run.
fn look(folder: &Path) -> Vec<Found> {
    [procfile, package_json, pyproject, cargo_toml]
        .iter()
        .map(|kind| kind(folder))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

fn procfile(folder: &Path) -> Vec<Found> {
    let Ok(text) = std::fs::read_to_string(folder.join("Procfile")) else { return Vec::new() };
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, command)| is_name(name.trim()) && !command.trim().is_empty())
        .map(|(name, command)| Found {
            name: name.trim().to_owned(),
            runs: format!("shell = {}", quoted(command.trim())),
            from: "Procfile",
        })
        .collect()
}

fn package_json(folder: &Path) -> Vec<Found> {
    let Some(json) = std::fs::read(folder.join("package.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
    else {
        return Vec::new();
    };
    let start = json["scripts"]["start"].as_str();
    let words = match (start, json["main"].as_str()) {
        // A plain `node file` needs no npm between ganger and the program: signals arrive, and start-up is quicker.
        (Some(start), _) if is_plain_node(start) => start.split_whitespace().collect(),
        (Some(_), _) => vec!["npm", "start"],
        (None, Some(main)) => vec!["node", main],
        (None, None) if folder.join("server.js").exists() => vec!["node", "server.js"],
        (None, None) => return Vec::new(),
    };
    vec![Found { name: "web".into(), runs: command(&words), from: "package.json" }]
}

fn is_plain_node(start: &str) -> bool {
    start.starts_with("node ")
        && start.chars().all(|c| c.is_ascii_alphanumeric() || " ./_-=".contains(c))
}

fn pyproject(folder: &Path) -> Vec<Found> {
    let Some(project) = toml_file(&folder.join("pyproject.toml")) else { return Vec::new() };
    let script = project
        .get("project")
        .and_then(|table| table.get("scripts"))
        .and_then(toml::Value::as_table)
        .and_then(|scripts| scripts.keys().next().cloned());
    let file = ["main.py", "app.py", "server.py"].into_iter().find(|f| folder.join(f).exists());
    let runs = match (script, file) {
        (Some(script), _) => command(&[&script]),
        (None, Some(file)) => command(&["python3", file]),
        (None, None) => return Vec::new(),
    };
    vec![Found { name: "app".into(), runs, from: "pyproject.toml" }]
}

fn cargo_toml(folder: &Path) -> Vec<Found> {
    let Some(manifest) = toml_file(&folder.join("Cargo.toml")) else { return Vec::new() };
    let package = manifest.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str);
    let has_program = folder.join("src/main.rs").exists() || manifest.get("bin").is_some();
    match package.filter(|name| has_program && is_name(name)) {
        Some(name) => vec![Found {
            name: name.to_owned(),
            runs: command(&["cargo", "run", "--release", "--quiet"]),
            from: "Cargo.toml",
        }],
        None => Vec::new(),
    }
}

fn toml_file(path: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn command(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("command = [{}]", words.join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn content(found: &[Found]) -> String {
    let mut text = String::from(
        "# What ganger runs here. `ganger validate` checks it, `ganger up` starts it.\nversion = 1\n",
    );
    let example = [Found {
        name: "web".into(),
        runs: "shell = \"while date; do sleep 5; done\"".into(),
        from: "an example",
    }];
    let services = if found.is_empty() { &example } else { found };
    if services.len() > MOST_SECTIONS {
        text.push_str(&format!("\n# from {}\n", services[0].from));
        for service in services {
            text.push_str(&format!("service.{} = {{ {} }}\n", service.name, service.runs));
        }
    } else {
        for service in services {
            text.push_str(&format!("\n[service.{}] # from {}\n", service.name, service.from));
            text.push_str(&service.runs);
            text.push('\n');
        }
    }
    text.push_str(REST);
    text
}

/// What most people look for next.
const REST: &str = r#"# replicas = 2
# restart = "on-failure"          # or "always", "never"
# ready = { tcp = ":3000" }       # or { http = ":3000/health" }, { log = "listening" }, { notify = true }
# live = { http = ":3000/health" } # restarted when it fails 3 times in a row

# [queue.mail]                    # durable tasks: ganger push mail --payload '{"to":"ana"}'
# [pool.mail]
# command = ["node", "worker.js"] # answers each task; workers = 4 for more of them
# queues = ["mail"]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn looks_at_the_folder() {
        type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);
        let cases: [Case; 6] = [
            (&[("Procfile", "# x\nweb: ./run -p $PORT\n")], "web", "shell = \"./run -p $PORT\""),
            (
                &[("package.json", r#"{"scripts":{"start":"node server.js"}}"#)],
                "web",
                r#"command = ["node", "server.js"]"#,
            ),
            (
                &[("package.json", r#"{"scripts":{"start":"vite && x"}}"#)],
                "web",
                r#"command = ["npm", "start"]"#,
            ),
            (
                &[("pyproject.toml", "[project.scripts]\nserve = 'a:b'")],
                "app",
                r#"command = ["serve"]"#,
            ),
            (
                &[("pyproject.toml", ""), ("main.py", "")],
                "app",
                r#"command = ["python3", "main.py"]"#,
            ),
            (
                &[("Cargo.toml", "[package]\nname = 'tool'"), ("src/main.rs", "")],
                "tool",
                r#"command = ["cargo", "run", "--release", "--quiet"]"#,
            ),
        ];
        for (files, name, runs) in cases {
            let dir = folder(files);
            let found = look(dir.path());
            assert_eq!((found[0].name.as_str(), found[0].runs.as_str()), (name, runs));
        }
        assert!(look(folder(&[("Cargo.toml", "[workspace]")]).path()).is_empty());
    }

    #[test]
    fn what_it_writes_is_short_and_valid() {
        let many: String = (0..12).map(|n| format!("p{n}: sleep {n}\n")).collect();
        for files in
            [vec![], vec![("Procfile", "web: echo \"a\\b\"\n")], vec![("Procfile", many.as_str())]]
        {
            let dir = folder(&files);
            let text = content(&look(dir.path()));
            assert!(text.lines().count() <= 25, "{text}");
            let path = dir.path().join(FILE);
            write_new(&path, &text).unwrap();
            let loaded = ganger_daemon::config::load(&path).map_err(|e| e.render(false));
            assert!(loaded.is_ok(), "{text}\n{loaded:?}");
        }
    }

    #[test]
    fn never_overwrites() {
        let dir = folder(&[(FILE, "mine")]);
        let path = dir.path().join(FILE);
        assert_eq!(write_new(&path, "x").unwrap_err().code(), 9);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    }
}
