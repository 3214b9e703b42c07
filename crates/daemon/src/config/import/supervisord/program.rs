//! `[program:x]`: one service, or one for each of its numbered processes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::super::resolve::absolute;
use super::super::draft::{Runs, Service};
use super::super::{name_for, toml_text, units};
use super::expand::{Names, When, expand, pairs};
use super::ini::Section;
use super::{Group, PRIORITY, Scope, keys};

/// More processes than this are a typing error; ganger's own bound of replicas.
const PROCESSES_MAX: u32 = 10_000;
/// Where each process is a service of its own: what is still readable as a file.
const NUMBERED_MAX: u32 = 200;

/// As many as `restart.max` may be.
const RESTARTS_MAX: u64 = 4_096;
/// The default of `restart.within`, seconds.
const WITHIN: u64 = 60;
/// Longer than a day is no window of restarts.
const WITHIN_MAX: u64 = 86_400;

/// What `[supervisord]` says for all.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) cwd: Option<PathBuf>,
    pub(super) umask: Option<String>,
    pub(super) user: Option<String>,
}

/// What a program has become.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) program: String,
    pub(super) services: Vec<Service>,
    /// Its group's, then its own.
    pub(super) priority: (i64, i64),
    /// `autostart`.
    pub(super) starts: bool,
}

/// supervisord's own umask, and ganger's.
pub(super) fn is_usual_umask(value: &str) -> bool {
    u32::from_str_radix(value.trim(), 8) == Ok(0o022)
}

/// One program's values, expanded.
struct Reader<'r, 's, 'w> {
    section: &'r Section,
    names: Names,
    scope: &'r mut Scope<'s, 'w>,
}

/// Reads a program; `None` after a report.
pub(super) fn read(
    program: &str,
    section: &Section,
    group: Option<&Group>,
    scope: &mut Scope<'_, '_>,
    taken: &mut BTreeSet<String>,
) -> Option<Made> {
    let mut names = scope.names.clone();
    names.texts.insert("program_name", program.to_owned());
    names.texts.insert("group_name", group.map_or(program, |group| &group.name).to_owned());
    names.numbers.insert("process_num", 0);
    let written = section.entries.iter().filter(|entry| !is_plain(&entry.key, &entry.value));
    keys::PROGRAM.note(written.map(|entry| entry.key.as_str()), program, scope.notes);
    let mut reader = Reader { section, names, scope };
    let count = u32::try_from(reader.number("numprocs").unwrap_or(1)).unwrap_or(u32::MAX);
    let first = u32::try_from(reader.number("numprocs_start").unwrap_or(0)).unwrap_or(0);
    reader.names.numbers.insert("numprocs", count);
    let numbered = count > 1
        && ["command", "directory", "environment", "user"]
            .iter()
            .filter_map(|key| section.get(key))
            .any(|entry| entry.value.contains("%(process_num)"));
    let most = if numbered { NUMBERED_MAX } else { PROCESSES_MAX };
    if count > most {
        let span = section.get("numprocs").map_or(section.span.clone(), |entry| entry.span.clone());
        reader.scope.walk.error(span, format!("at most {most} processes here"));
        return None;
    }
    let own = reader.number("priority").map_or(PRIORITY, |n| i64::try_from(n).unwrap_or(PRIORITY));
    let starts = reader.truth("autostart").unwrap_or(true);
    let mut services = Vec::new();
    let last = if numbered { first.saturating_add(count) } else { first.saturating_add(1) };
    for number in first..last {
        reader.names.numbers.insert("process_num", number);
        let mut service = reader.service(program)?;
        let wanted = if numbered { reader.numbered_name(program, number) } else { program.into() };
        service.name = name_for(&wanted, &|name| taken.contains(name));
        service.comment = (service.name != wanted).then_some(wanted);
        taken.insert(service.name.clone());
        service.replicas = match (starts, numbered) {
            (false, _) => Some(0),
            (true, true) => None,
            (true, false) => Some(count),
        };
        services.push(service);
    }
    let priority = (group.map_or(own, |group| group.priority), own);
    Some(Made { program: program.to_owned(), services, priority, starts })
}

/// Values that mean what ganger does anyway: nothing to tell about them.
fn is_plain(key: &str, value: &str) -> bool {
    match key {
        "command" => !value.contains("%(ENV_"),
        "autostart" | "killasgroup" => truth(value) == Some(true),
        "numprocs" => value == "1",
        "exitcodes" => value == "0",
        "umask" => is_usual_umask(value),
        "process_name" => {
            ["%(program_name)s", "%(program_name)s_%(process_num)02d"].contains(&value)
        }
        _ => false,
    }
}

fn truth(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "t" | "y" | "1" => Some(true),
        "false" | "no" | "off" | "f" | "n" | "0" => Some(false),
        _ => None,
    }
}

impl Reader<'_, '_, '_> {
    fn text(&mut self, key: &str, when: When) -> Option<String> {
        let entry = self.section.get(key)?;
        match expand(&entry.value, &self.names, when) {
            Ok(text) => Some(text),
            Err(why) => {
                self.scope.walk.error(entry.span.clone(), why);
                None
            }
        }
    }

    fn report(&mut self, key: &str, why: String) {
        let entry = self.section.get(key);
        let span = entry.map_or(self.section.span.clone(), |entry| entry.span.clone());
        self.scope.walk.error(span, why);
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        let text = self.text(key, When::Now)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.report(key, format!("`{text}` is not a whole number"));
        }
        number
    }

    fn truth(&mut self, key: &str) -> Option<bool> {
        let text = self.text(key, When::Now)?;
        let value = truth(&text);
        if value.is_none() {
            self.report(key, format!("`{text}` is neither true nor false"));
        }
        value
    }

    fn numbered_name(&mut self, program: &str, number: u32) -> String {
        let wanted = self.section.get("process_name").filter(|e| e.value.contains("process_num"));
        wanted
            .and_then(|_| self.text("process_name", When::Now))
            .unwrap_or_else(|| format!("{program}_{number:02}"))
    }

    fn service(&mut self, program: &str) -> Option<Service> {
        let Some(command) = self.text("command", When::AtUp) else {
            if self.section.get("command").is_none() {
                self.report("command", format!("[program:{program}] has no `command`"));
            }
            return None;
        };
        let Some(words) = shlex::split(&command) else {
            self.report("command", "a quote in this is never closed".into());
            return None;
        };
        let words = self.with_umask(words);
        let mut env = self.names.own_env.clone();
        if let Some(text) = self.text("environment", When::AtUp) {
            match pairs(&text) {
                Ok(pairs) => env.extend(pairs),
                Err(why) => self.report("environment", why),
            }
        }
        let directory = self.text("directory", When::Now);
        let cwd = directory.map(|dir| absolute(self.scope.walk.dir, &dir));
        let mut service = Service {
            runs: Runs::Words(words),
            cwd: cwd.or_else(|| self.scope.defaults.cwd.clone()),
            env,
            user: self.text("user", When::Now).or_else(|| self.scope.defaults.user.clone()),
            stop_signal: self.text("stopsignal", When::Now).map(|name| signal(&name)),
            stop_timeout: self.number("stopwaitsecs").map(units::seconds),
            stop_main: !self.truth("stopasgroup").unwrap_or(false),
            ..Service::default()
        };
        self.restart(&mut service);
        Some(service)
    }

    fn with_umask(&mut self, words: Vec<String>) -> Vec<String> {
        let said = self.text("umask", When::Now).or_else(|| self.scope.defaults.umask.clone());
        let Some(said) = said.filter(|said| !is_usual_umask(said)) else { return words };
        if u32::from_str_radix(said.trim(), 8).is_err() {
            self.report("umask", format!("`{said}` is not an octal number"));
            return words;
        }
        let shell = format!("umask {} && exec \"$@\"", said.trim());
        let before = ["/bin/sh".to_owned(), "-c".to_owned(), shell, "sh".to_owned()];
        before.into_iter().chain(words).collect()
    }

    fn restart(&mut self, service: &mut Service) {
        let said = self.text("autorestart", When::Now);
        service.restart_on = match said.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("unexpected") => None,
            Some(word) => match truth(word) {
                Some(true) => Some("always"),
                Some(false) => Some("never"),
                None => {
                    let why = format!("`{word}` is none of true, false and unexpected");
                    self.report("autorestart", why);
                    None
                }
            },
        };
        let up = self.number("startsecs").filter(|seconds| *seconds > 0);
        service.healthy_after = up.map(units::seconds);
        if let Some(retries) = self.number("startretries") {
            // None at all can't be said: one start too many is nearer than none at all.
            let max = retries.clamp(1, RESTARTS_MAX);
            service.restart_max = Some(max);
            // Every failing start may take `startsecs` and its wait before the next.
            let window = up.unwrap_or(1).saturating_add(max).saturating_mul(max + 1);
            service.within = (window > WITHIN).then(|| units::seconds(window.min(WITHIN_MAX)));
        }
    }
}

/// supervisord writes signals without SIG, or as numbers.
fn signal(name: &str) -> String {
    let name = name.trim().to_ascii_uppercase();
    let plain = name.starts_with("SIG") || name.chars().all(|c| c.is_ascii_digit());
    if plain || toml_text::has_variable(&name) { name } else { format!("SIG{name}") }
}
