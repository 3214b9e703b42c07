//! What somebody probably meant: typing errors, other tools' words, and keys of later versions.

use std::ops::Range;

use super::walk::Walk;

/// Words of PM2, supervisord, systemd, compose and the queues, and ours for the same thing.
const FOREIGN: &[(&str, &str)] = &[
    ("instances", "replicas"),
    ("numprocs", "replicas"),
    ("scale", "replicas"),
    ("count", "replicas"),
    ("script", "command"),
    ("cmd", "command"),
    ("exec", "command"),
    ("execstart", "command"),
    ("exec_start", "command"),
    ("program", "command"),
    ("entrypoint", "command"),
    ("run", "command"),
    ("args", "command"),
    ("directory", "cwd"),
    ("dir", "cwd"),
    ("workdir", "cwd"),
    ("working_dir", "cwd"),
    ("working_directory", "cwd"),
    ("environment", "env"),
    ("envs", "env"),
    ("environment_file", "env_file"),
    ("dotenv", "env_file"),
    ("uid", "user"),
    ("autorestart", "restart"),
    ("restart_policy", "restart"),
    ("max_restarts", "restart.max"),
    ("startretries", "restart.max"),
    ("start_limit_burst", "restart.max"),
    ("start_limit", "restart.max"),
    ("restart_delay", "restart.backoff"),
    ("restart_sec", "restart.backoff"),
    ("exp_backoff_restart_delay", "restart.backoff"),
    ("startsecs", "restart.healthy_after"),
    ("min_uptime", "restart.healthy_after"),
    ("start_limit_interval_sec", "restart.within"),
    ("cooldown", "restart.breaker"),
    ("socket", "listen"),
    ("sockets", "listen"),
    ("listen_stream", "listen"),
    ("listen_datagram", "listen"),
    ("bind", "listen"),
    ("use_sockets", "listen"),
    ("reuse_port", "listen_mode"),
    ("nice", "priority"),
    ("watch_delay", "watch.debounce"),
    ("ignore_watch", "watch.ignore"),
    ("watch_ignore", "watch.ignore"),
    ("delay", "debounce"),
    ("exclude", "ignore"),
    ("action", "watch"),
    ("develop", "watch"),
    ("supervisor", "supervision"),
    ("kill_timeout", "stop_timeout"),
    ("stopwaitsecs", "stop_timeout"),
    ("stop_grace_period", "stop_timeout"),
    ("timeout_stop_sec", "stop_timeout"),
    ("stopsignal", "stop_signal"),
    ("kill_signal", "stop_signal"),
    ("after", "depends_on"),
    ("requires", "depends_on"),
    ("max_memory_restart", "limits.memory"),
    ("mem_limit", "limits.memory"),
    ("healthcheck", "ready"),
    ("readiness_probe", "ready"),
    ("ready_log_line", "ready.log"),
    ("startup_probe", "startup"),
    ("liveness_probe", "live"),
    ("liveness", "live"),
    ("watchdog", "live.notify"),
    ("watchdog_sec", "live.notify"),
    // Of `ready`, `startup` and `live`.
    ("http_get", "http"),
    ("url", "http"),
    ("path", "http"),
    ("tcp_socket", "tcp"),
    ("port", "tcp"),
    ("cmd", "exec"),
    ("sd_notify", "notify"),
    ("ping", "channel"),
    ("ipc", "channel"),
    ("interval", "every"),
    ("period", "every"),
    ("period_seconds", "every"),
    ("timeout_seconds", "timeout"),
    ("failure_threshold", "failures"),
    ("max_failed", "failures"),
    ("retries", "failures"),
    ("attempts", "retry.max"),
    ("max_attempts", "retry.max"),
    ("retries", "retry.max"),
    ("processes", "workers"),
    ("job_timeout", "timeout"),
    ("tz", "timezone"),
    ("time_zone", "timezone"),
    ("every", "cron"),
    ("pattern", "cron"),
    ("on_calendar", "cron"),
    ("randomized_delay_sec", "jitter"),
    ("concurrency_policy", "overlap"),
    ("catchup", "missed"),
    ("persistent", "missed"),
    ("max_len", "max_length"),
    // Of `dead`, `history` and `log`.
    ("max", "max_count"),
    ("max_rows", "max_count"),
    ("max_bytes", "max_size"),
    ("unique", "dedupe"),
    ("rate_limit", "limits.rate"),
    ("rate", "limits.rate"),
    ("max_running", "limits.running"),
    ("concurrency_key", "limits.key"),
    ("weights", "lanes"),
    ("kinds", "kind"),
    // Of incidents.
    ("ban", "lock_out"),
    ("lockout", "lock_out"),
    ("webhook", "hook"),
    ("bantime", "time"),
    ("findtime", "within"),
    ("maxretry", "count"),
    // Of policies.
    ("enum", "one_of"),
    ("values", "one_of"),
    ("choices", "one_of"),
    ("range", "int"),
    ("pattern", "regex"),
    ("match", "regex"),
    ("root", "beneath"),
    ("max_length", "max"),
    ("arguments", "args"),
    ("positionals", "args"),
    ("operands", "args"),
    ("flags", "options"),
    ("principals", "who"),
    ("users", "who"),
    ("checksum", "sha256"),
    ("digest", "sha256"),
    ("executable", "program"),
    ("binary", "program"),
    ("command", "program"),
    ("per_kind", "kind"),
];

/// Keys that the design has and this version does not.
const LATER: &[&str] = &[
    "http",
    "scale_on",
    "pipeline",
    "store",
    "cluster",
    "defaults",
    "notify_by",
    "auth",
    "role",
    "telemetry",
    "profile",
    "include",
    "tls",
    "base_path",
    "job",
];

/// Sections by other names.
const SECTIONS: [(&str, &str); 16] = [
    ("groups", "group"),
    ("schedules", "schedule"),
    ("cron", "schedule"),
    ("timer", "schedule"),
    ("services", "service"),
    ("policies", "policy"),
    ("incidents", "incident"),
    ("detection", "incident"),
    ("command", "policy"),
    ("program", "service"),
    ("process", "service"),
    ("processes", "service"),
    ("apps", "service"),
    ("queues", "queue"),
    ("pools", "pool"),
    ("worker", "pool"),
];

/// Reports a key that `section` does not have, with the one that was probably meant.
pub(super) fn unknown_key(
    walk: &mut Walk<'_>,
    span: Range<usize>,
    key: &str,
    section: &str,
    known: &[&str],
) {
    let flat = flatten(key);
    if LATER.contains(&flat.as_str()) {
        walk.error(span, format!("`{key}` in {section} is not in this version of ganger"))
            .label("not yet".to_owned());
        return;
    }
    let foreign = FOREIGN.iter().chain(&SECTIONS).find(|(other, ours)| {
        *other == flat && known.contains(&ours.split('.').next().unwrap_or(ours))
    });
    let diagnostic = walk.error(span, format!("unknown key `{key}` in {section}"));
    if let Some((_, ours)) = foreign {
        diagnostic.label(format!("ganger calls this `{ours}`"));
        if flat == "args" {
            diagnostic.help(
                "write program and arguments as one list: command = [\"node\", \"a.js\"]".into(),
            );
        }
    } else if let Some(near) = nearest(&flat, known.iter().copied()) {
        diagnostic.label(format!("did you mean `{near}`?"));
    }
    diagnostic.help(format!("allowed: {}", known.join(", ")));
}

/// The nearest of `known`, if it is near enough to be what was meant: two typing errors, or a third of the word.
pub(super) fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let limit = (given.chars().count() / 3).max(2);
    let given = given.to_ascii_lowercase();
    known
        .map(|word| (strsim::damerau_levenshtein(&given, &word.to_ascii_lowercase()), word))
        .filter(|(distance, word)| *distance <= limit && *distance < word.chars().count())
        .min()
        .map(|(_, word)| word)
}

/// `stop-timeout`, `stopTimeout` and `STOP_TIMEOUT` as we write it: `stop_timeout`.
fn flatten(key: &str) -> String {
    let mut flat = String::with_capacity(key.len() + 4);
    let mut lower_before = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && lower_before {
            flat.push('_');
        }
        lower_before = c.is_ascii_lowercase();
        flat.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    flat
}
