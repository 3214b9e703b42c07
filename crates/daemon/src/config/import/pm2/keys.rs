//! PM2's keys and what becomes of them.

use crate::config::import::keys::{Fate, Key, Table};
use Fate::{Changed, Left, Same};

const LOGS: Fate = Left(
    "ganger keeps both streams itself, per instance, rotated: `ganger logs NAME`; `log = { max_size = \"…\" }` bounds them",
);
const NO_MONITOR: Fate = Left(
    "it belongs to PM2's own monitoring; `ganger status` and `/metrics` need nothing in the program",
);

pub(in crate::config::import) const APP: Table = Table {
    section: "a PM2 app",
    keys: &[
        Key::new("name", Same("[service.NAME]")),
        Key::or("script", &["cmd", "command"], Same("command")),
        Key::new("args", Same("command")),
        Key::or("interpreter", &["exec_interpreter"], Same("command")),
        Key::or("interpreter_args", &["node_args", "nodeArgs", "interpreterArgs"], Same("command")),
        Key::new(
            "cwd",
            Changed("cwd", "relative to this file's folder, wherever `ganger` is called"),
        ),
        Key::new(
            "instances",
            Changed(
                "replicas",
                "\"max\", 0 and -1 are counted now, on this machine; several of a node program are a cluster unless `exec_mode` says \"fork\"",
            ),
        ),
        Key::new(
            "exec_mode",
            Changed(
                "node_cluster",
                "\"cluster\" of a node program: ganger is its primary, instances share what they listen on and are ready when they listen; leave it out for one that never listens",
            ),
        ),
        Key::new("instance_var", Same("instance_var")),
        Key::new("increment_var", Changed("port", "PORT only")),
        Key::new("port", Same("env.PORT")),
        Key::new("env", Same("env")),
        Key::new("env_*", Changed("env", "the one that `--env NAME` names, on top of `env`")),
        Key::new("env_file", Same("env_file")),
        Key::new(
            "max_restarts",
            Changed(
                "restart.max",
                "in `within`; then the breaker opens and one start is tried each period: it is not given up for ever",
            ),
        ),
        Key::new("min_uptime", Same("restart.healthy_after")),
        Key::new(
            "restart_delay",
            Changed(
                "restart.backoff",
                "drawn evenly up to it, so that a crowd does not come back at once",
            ),
        ),
        Key::or(
            "exp_backoff_restart_delay",
            &["exp_backoff"],
            Changed("restart.backoff", "from it to 15s, doubling, drawn evenly"),
        ),
        Key::new("autorestart", Same("restart.on")),
        Key::new(
            "stop_exit_codes",
            Changed(
                "restart.on",
                "[0] becomes \"on-failure\"; other codes can't stop restarts here: end with 0 instead",
            ),
        ),
        Key::new(
            "max_memory_restart",
            Changed(
                "limits.memory",
                "a hard limit of the whole tree, by the kernel at once, instead of a look every 30 s",
            ),
        ),
        Key::new("kill_timeout", Same("stop_timeout")),
        Key::new("kill_signal", Same("stop_signal")),
        Key::new(
            "wait_ready",
            Changed("ready.channel", "not ready in time is a failure of the start, not a success"),
        ),
        Key::new("listen_timeout", Same("ready.timeout")),
        Key::new(
            "treekill",
            Changed(
                "kill",
                "`false` becomes \"main\"; what is left of the tree is killed after it",
            ),
        ),
        Key::new("uid", Same("user")),
        Key::or("user", &["username"], Same("user")),
        Key::new("gid", Same("user")),
        Key::new("namespace", Changed("[group.NAME]", "services that are seen together")),
        Key::new(
            "autostart",
            Changed("replicas", "`false` becomes `replicas = 0`: `ganger scale NAME 1` starts it"),
        ),
        Key::new("source_map_support", Changed("command", "node's own --enable-source-maps")),
        Key::new("disable_source_map_support", Same("(nothing is loaded into programs)")),
        Key::or(
            "cron_restart",
            &["cron"],
            Left(
                "schedules push tasks, they restart nothing; let cron or a systemd timer call `ganger restart NAME`",
            ),
        ),
        Key::new("shutdown_with_message", Same("stop_message")),
        Key::new(
            "watch",
            Changed(
                "watch",
                "after 300 ms without a change; version control, node_modules, build output and editors' files never count",
            ),
        ),
        Key::new(
            "ignore_watch",
            Changed(
                "watch.ignore",
                "names and globs, not regular expressions; dot files count unless named here",
            ),
        ),
        Key::new("watch_delay", Same("watch.debounce")),
        Key::new(
            "watch_options",
            Left("they are chokidar's own; `watch = { paths, ignore, debounce }` is all there is"),
        ),
        Key::or("out_file", &["out", "output"], LOGS),
        Key::or("error_file", &["err", "error", "err_file"], LOGS),
        Key::or("log_file", &["log"], LOGS),
        Key::or("merge_logs", &["combine_logs"], LOGS),
        Key::or(
            "log_date_format",
            &["time"],
            Left("every line has its time: `ganger logs --json` shows it"),
        ),
        Key::new("log_type", Left("`ganger logs --json` prints JSON whatever the program says")),
        Key::new("disable_logs", LOGS),
        Key::or(
            "pid_file",
            &["pid"],
            Left(
                "`ganger ps --json` shows pids; signals go through pidfds, never through a file's number",
            ),
        ),
        Key::new(
            "filter_env",
            Left("start `ganger up` with the environment that programs should have"),
        ),
        Key::new("append_env_to_name", Left("`name` as it should be in the file that is chosen")),
        Key::new("vizion", Left("versions of the folder's repository are not watched")),
        Key::or(
            "pmx",
            &["automation", "trace", "deep_monitoring", "disable_trace", "monitor"],
            NO_MONITOR,
        ),
        Key::new(
            "post_update",
            Left("there is no `pull`; deploy, then `ganger up` or `ganger restart`"),
        ),
        Key::new("force", Left("a name is one service; give the second another name")),
        Key::new("version", Left("only PM2's table shows it")),
        Key::or(
            "container",
            &["dockerdaemon", "dist_folder", "node_version", "image_name", "fresh"],
            Left("it is PM2's Docker mode; containers are no business of ganger's"),
        ),
    ],
};

/// Beside `apps`.
pub(in crate::config::import) const TOP: Table = Table {
    section: "an ecosystem file",
    keys: &[
        Key::new("apps", Same("[service.*]")),
        Key::new("deploy", Left("ganger starts what is there; bring it there by other means")),
        Key::new("include", Left("one file is one gang")),
    ],
};
