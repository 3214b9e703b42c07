//! One app of an ecosystem file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::super::super::resolve::absolute;
use super::super::super::walk::Walk;
use super::super::draft::{Notes, Runs, Service, Watch};
use super::super::{Choice, units};
use super::{interpreter, keys};

/// Where PM2's growing waits end.
const BACKOFF_MAX_MS: u64 = 15_000;
/// As many as `restart.max` may be.
const RESTARTS_MAX: u64 = 4_096;
/// PM2's variable with an instance's number.
const INSTANCE_VAR: &str = "NODE_APP_INSTANCE";

pub(super) struct App<'a, 'w> {
    pub(super) map: &'a Map<String, Value>,
    /// Its name as PM2 shows it.
    pub(super) label: String,
    pub(super) notes: &'a mut Notes,
    pub(super) walk: &'a mut Walk<'w>,
}

impl App<'_, '_> {
    /// The service; `None` after a report.
    pub(super) fn service(&mut self, choice: &Choice) -> Option<Service> {
        self.note();
        let cwd = self.text("cwd").map(|cwd| absolute(self.walk.dir, &cwd));
        let folder = cwd.clone().unwrap_or_else(|| absolute(self.walk.dir, "."));
        let runs = self.runs(&folder)?;
        let env = self.env(choice);
        let port = self.incremented(&env);
        let replicas = self.instances();
        // Also for one: programs ask whether they are number 0 before they do what only one may do.
        let var = self.text("instance_var").unwrap_or_else(|| INSTANCE_VAR.to_owned());
        let mut service = Service {
            runs,
            cwd,
            env,
            env_file: self.env_files(&folder),
            replicas: Some(if self.is("autostart", false) { 0 } else { replicas }),
            port,
            instance_var: Some(var),
            user: self.user(),
            stop_signal: Some(self.text("kill_signal").unwrap_or_else(|| "SIGINT".to_owned())),
            stop_timeout: self.millis("kill_timeout").map(units::millis),
            stop_main: self.is("treekill", false),
            memory: self.memory(),
            ..Service::default()
        };
        service.node_cluster = self.is_cluster(&service.runs, replicas);
        service.watch = self.watch();
        service.stop_message = self.is("shutdown_with_message", true);
        self.restart(&mut service);
        if self.is("wait_ready", true) {
            service.ready = Some(self.millis("listen_timeout").map(units::millis));
        }
        Some(service)
    }

    /// The value under PM2's name of a key, or another spelling of it; `null` is nothing.
    fn get(&self, name: &str) -> Option<&Value> {
        let aliases = keys::APP.find(name).map_or(&[][..], |key| key.aliases);
        let mut names = [name].into_iter().chain(aliases.iter().copied());
        names.find_map(|name| self.map.get(name)).filter(|value| !value.is_null())
    }

    fn wrong(&mut self, key: &str, wanted: &str) {
        let value = self.get(key).cloned().unwrap_or_default();
        self.walk
            .file_error(format!("app `{}`: `{key}` is {value}: expected {wanted}", self.label));
    }

    /// A text; numbers and truth values as PM2 would pass them on.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let text = text_of(self.get(key)?);
        if text.is_none() {
            self.wrong(key, "a text");
        }
        text
    }

    fn is(&self, key: &str, value: bool) -> bool {
        match self.get(key) {
            Some(Value::Bool(given)) => *given == value,
            Some(Value::String(given)) => given.eq_ignore_ascii_case(&value.to_string()),
            _ => false,
        }
    }

    fn millis(&mut self, key: &str) -> Option<u64> {
        let value = units::pm2_millis(self.get(key)?);
        if value.is_none() {
            self.wrong(key, "milliseconds, or a time like \"10s\"");
        }
        value
    }

    fn memory(&mut self) -> Option<u64> {
        let bytes = units::pm2_bytes(self.get("max_memory_restart")?);
        if bytes.is_none() {
            self.wrong("max_memory_restart", "bytes, or a size like \"300M\"");
        }
        bytes.filter(|bytes| *bytes > 0)
    }

    /// A list of words: a list as it is, a text split like a shell would.
    fn words(&mut self, key: &str) -> Vec<String> {
        let words = match self.get(key) {
            None => Some(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(text_of).collect(),
            Some(other) => text_of(other).and_then(|text| shlex::split(&text)),
        };
        if words.is_none() {
            self.wrong(key, "a list of words, or a line of them");
        }
        words.unwrap_or_default()
    }

    fn runs(&mut self, folder: &std::path::Path) -> Option<Runs> {
        let Some(script) = self.text("script").filter(|script| !script.trim().is_empty()) else {
            self.walk.file_error(format!("app `{}` has no `script`", self.label));
            return None;
        };
        let args = self.words("args");
        // "npm run x" in one text: PM2 gives it to a shell.
        if script.contains(' ') && !folder.join(&script).exists() {
            let more: Vec<&str> = args.iter().map(String::as_str).collect();
            let more = shlex::try_join(more).unwrap_or_default();
            return Some(Runs::Line(format!("{script} {more}").trim_end().to_owned()));
        }
        let given = self.text("interpreter").filter(|name| !name.is_empty());
        let interpreter = match given.as_deref() {
            Some("none") => None,
            Some(name) if name.starts_with("node@") => {
                self.notes.left(
                    "interpreter",
                    format!("`{name}` asks nvm for a version; `node` of PATH runs it"),
                    &self.label,
                );
                Some("node".to_owned())
            }
            Some(name) => Some(name.to_owned()),
            None => interpreter::for_script(&script, folder).map(str::to_owned),
        };
        let mut words: Vec<String> = interpreter.iter().cloned().collect();
        let is_node =
            interpreter.as_deref().is_some_and(|name| name.rsplit('/').next() == Some("node"));
        if is_node && self.is("source_map_support", true) {
            words.push("--enable-source-maps".to_owned());
        }
        words.extend(self.words("interpreter_args").into_iter().filter(|_| interpreter.is_some()));
        let in_folder = !script.contains('/') && folder.join(&script).is_file();
        words.push(if interpreter.is_none() && in_folder { format!("./{script}") } else { script });
        words.extend(args);
        Some(Runs::Words(words))
    }

    fn instances(&mut self) -> u32 {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as i64;
        let Some(value) = self.get("instances") else { return 1 };
        let number = match value.as_str() {
            Some("max") => Some(0),
            Some(text) => text.trim().parse::<i64>().ok(),
            None => value.as_i64(),
        };
        let count = match number {
            Some(0) => processors,
            Some(below @ i64::MIN..=-1) => (processors.saturating_add(below)).max(1),
            Some(count) => count,
            None => {
                self.wrong("instances", "a number or \"max\"");
                1
            }
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Workers of a Node cluster; anything else PM2 runs as it is, too.
    fn is_cluster(&self, runs: &Runs, replicas: u32) -> bool {
        let mode = self.get("exec_mode").and_then(Value::as_str);
        // Unsaid it is one for PM2 where `instances` stands. A single one shares its port with nobody.
        is_node(runs) && mode.map_or(replicas > 1, |mode| mode.starts_with("cluster"))
    }

    fn watch(&mut self) -> Option<Watch> {
        let paths = match self.get("watch")? {
            Value::Bool(true) => vec![],
            Value::String(text) if text == "true" => vec![],
            Value::Bool(false) => return None,
            Value::String(text) if text == "false" => return None,
            _ => self.globs("watch"),
        };
        let ignore = self.globs("ignore_watch");
        let debounce = self.millis("watch_delay").filter(|ms| *ms > 0).map(units::millis);
        Some(Watch { paths, ignore, debounce })
    }

    /// Paths and globs, as they are; what is neither is left out.
    fn globs(&mut self, key: &str) -> Vec<String> {
        let list = match self.get(key) {
            Some(Value::Array(list)) => list.iter().map(text_of).collect(),
            Some(one) => text_of(one).map(|text| vec![text]),
            None => Some(vec![]),
        };
        let Some(list) = list else {
            self.wrong(key, "paths");
            return vec![];
        };
        let fault = |text: &String| {
            let (base, debounce) = (PathBuf::from("/"), ganger_supervise::watch::DEBOUNCE);
            let (paths, ignore) = (vec![text.clone()], vec![]);
            ganger_supervise::watch::check(&ganger_supervise::watch::Watch {
                base,
                paths,
                ignore,
                debounce,
            })
            .err()
        };
        let (bad, good): (Vec<_>, Vec<_>) = list
            .into_iter()
            .map(|text| (fault(&text), text))
            .partition(|(fault, _)| fault.is_some());
        for (fault, _) in bad {
            let why = fault.map(|fault| fault.to_string()).unwrap_or_default();
            self.notes.left(key, why, &self.label);
        }
        good.into_iter().map(|(_, text)| text).collect()
    }

    fn env(&mut self, choice: &Choice) -> BTreeMap<String, String> {
        let chosen = choice.env.as_ref().map(|name| format!("env_{name}"));
        let mut env = BTreeMap::new();
        if let Some(port) = self.text("port") {
            env.insert("PORT".to_owned(), port);
        }
        for key in ["env".to_owned()].into_iter().chain(chosen) {
            match self.map.get(&key) {
                None | Some(Value::Null) => {}
                Some(Value::Object(map)) => {
                    let set = map.iter().filter(|(_, value)| !value.is_null());
                    env.extend(set.map(|(name, value)| {
                        (name.clone(), text_of(value).unwrap_or_else(|| value.to_string()))
                    }));
                }
                Some(_) => self.wrong(&key, "an object of variables"),
            }
        }
        env
    }

    /// `increment_var: "PORT"`: each instance one more.
    fn incremented(&mut self, env: &BTreeMap<String, String>) -> Option<u16> {
        let name = self.text("increment_var")?;
        let port = env.get(&name).and_then(|text| text.parse().ok());
        if name != "PORT" || port.is_none() {
            let why = "only PORT with a number counts up; `instance_var` gives any other variable the instance's number";
            self.notes.left("increment_var", why, &self.label);
            return None;
        }
        port
    }

    fn env_files(&mut self, folder: &std::path::Path) -> Vec<PathBuf> {
        self.words("env_file").iter().map(|file| absolute(folder, file)).collect()
    }

    fn user(&mut self) -> Option<String> {
        let user = self.text("uid").or_else(|| self.text("user"));
        match (user, self.text("gid")) {
            (Some(user), Some(group)) => Some(format!("{user}:{group}")),
            (None, Some(_)) => {
                self.notes.left("gid", "a group alone can't be given: say `uid` too", &self.label);
                None
            }
            (user, None) => user,
        }
    }

    fn restart(&mut self, service: &mut Service) {
        let codes = match self.get("stop_exit_codes") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_i64).collect(),
            Some(one) => one.as_i64().into_iter().collect(),
            None => Vec::new(),
        };
        service.restart_on = if self.is("autorestart", false) {
            Some("never")
        } else if codes.contains(&0) {
            None
        } else {
            Some("always")
        };
        let delay = self.millis("restart_delay").filter(|ms| *ms > 0);
        let growing = self.millis("exp_backoff_restart_delay").filter(|ms| *ms > 0);
        service.backoff = match (growing, delay) {
            (Some(from), _) => {
                let to = BACKOFF_MAX_MS.max(from);
                Some(format!("{}..{}", units::millis(from), units::millis(to)))
            }
            (None, Some(delay)) => Some(units::millis(delay)),
            (None, None) => None,
        };
        service.healthy_after = self.millis("min_uptime").filter(|ms| *ms > 0).map(units::millis);
        let max = self.get("max_restarts").map(units::pm2_millis);
        match max {
            Some(None) => self.wrong("max_restarts", "a whole number"),
            Some(Some(max)) => service.restart_max = Some(max.clamp(1, RESTARTS_MAX)),
            None => {}
        }
    }

    /// Notes what becomes of the keys that are written and mean anything.
    fn note(&mut self) {
        let said_mode = self.get("exec_mode").is_some();
        let plain = |key: &str, value: &Value| match key {
            _ if value.is_null() => true,
            "watch"
            | "shutdown_with_message"
            | "disable_logs"
            | "force"
            | "time"
            | "pmx"
            | "vizion"
            | "automation"
            | "source_map_support" => *value == Value::Bool(false),
            "treekill" | "autostart" | "autorestart" => *value == Value::Bool(true),
            "exec_mode" => value.as_str().is_none_or(|mode| !mode.starts_with("cluster")),
            "wait_ready" => *value == Value::Bool(false),
            "instances" => value.as_i64().is_some_and(|n| n == 1 || n > 1 && said_mode),
            "cwd" => value.as_str().is_some_and(|path| path.starts_with('/')),
            "namespace" => value.as_str() == Some("default"),
            "increment_var" => value.as_str() == Some("PORT"),
            _ => false,
        };
        let written = self.map.iter().filter(|(key, value)| !plain(key, value));
        let names =
            written.map(
                |(key, _)| if key.starts_with("env_") && key != "env_file" { "env_*" } else { key },
            );
        let names: Vec<&str> = names.collect();
        keys::APP.note(names.into_iter(), &self.label, self.notes);
    }
}

/// A scalar as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn is_node(runs: &Runs) -> bool {
    let Runs::Words(words) = runs else { return false };
    words.first().is_some_and(|name| name.rsplit('/').next() == Some("node"))
}
