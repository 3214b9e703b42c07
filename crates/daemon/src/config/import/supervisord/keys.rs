//! supervisord's keys and what becomes of them.

use crate::config::import::keys::{Fate, Key, Table};
use Fate::{Changed, Left, Same};

const LOGS: Fate = Left(
    "ganger keeps both streams itself, per instance, rotated: `ganger logs NAME`; `log = { max_size = \"…\" }` bounds them",
);
const EVENTS: Fate =
    Left("there is no event protocol for children; `ganger events -f --json` streams events");
const OWN_LOG: Fate = Left("ganger's own log is `ganger logs ganger`");

pub(in crate::config::import) const PROGRAM: Table = Table {
    section: "[program:x]",
    keys: &[
        Key::new(
            "command",
            Changed(
                "command",
                "split as supervisord does; a `%(ENV_X)s` becomes `${X}` and stays one word",
            ),
        ),
        Key::new(
            "process_name",
            Changed(
                "NAME#SLOT",
                "ganger numbers instances itself; it names services only where each process has a service of its own",
            ),
        ),
        Key::new(
            "numprocs",
            Changed(
                "replicas",
                "instances of one service; where `process_num` is used in the command, its environment or folder, a service each, and a group of them",
            ),
        ),
        Key::new("numprocs_start", Same("(the numbers of the services)")),
        Key::new("directory", Same("cwd")),
        Key::new("environment", Same("env")),
        Key::new("user", Same("user")),
        Key::new(
            "umask",
            Changed("command", "through a shell that sets it and becomes the program"),
        ),
        Key::new(
            "priority",
            Changed(
                "depends_on",
                "smaller ones are started before larger ones, and stopped after them",
            ),
        ),
        Key::new(
            "autostart",
            Changed("replicas", "`false` becomes `replicas = 0`: `ganger scale NAME 1` starts it"),
        ),
        Key::new("autorestart", Same("restart.on")),
        Key::new(
            "exitcodes",
            Left(
                "only exit code 0 is an expected end here: let the program end with 0, or use restart = \"never\"",
            ),
        ),
        Key::new(
            "startsecs",
            Changed(
                "restart.healthy_after",
                "it counts as running at once; up this long, its failures are forgotten",
            ),
        ),
        Key::new(
            "startretries",
            Changed(
                "restart.max",
                "then the breaker opens and one start is tried each period: it is not given up for ever",
            ),
        ),
        Key::new("stopsignal", Same("stop_signal")),
        Key::new("stopwaitsecs", Same("stop_timeout")),
        Key::new("stopasgroup", Same("kill")),
        Key::new(
            "killasgroup",
            Changed(
                "kill",
                "what is left of the whole tree is always killed, so that never two copies run",
            ),
        ),
        Key::new("redirect_stderr", LOGS),
        Key::new("stdout_logfile", LOGS),
        Key::new("stdout_logfile_maxbytes", LOGS),
        Key::new("stdout_logfile_backups", LOGS),
        Key::new("stdout_capture_maxbytes", EVENTS),
        Key::new("stdout_events_enabled", EVENTS),
        Key::new("stdout_syslog", LOGS),
        Key::new("stderr_logfile", LOGS),
        Key::new("stderr_logfile_maxbytes", LOGS),
        Key::new("stderr_logfile_backups", LOGS),
        Key::new("stderr_capture_maxbytes", EVENTS),
        Key::new("stderr_events_enabled", EVENTS),
        Key::new("stderr_syslog", LOGS),
        Key::new(
            "serverurl",
            Left("children need no address: the API is the Unix socket in the state folder"),
        ),
    ],
};

pub(in crate::config::import) const GROUP: Table = Table {
    section: "[group:x]",
    keys: &[
        Key::new("programs", Same("members")),
        Key::new("priority", Changed("depends_on", "as of programs, for all members")),
    ],
};

pub(in crate::config::import) const DAEMON: Table = Table {
    section: "[supervisord]",
    keys: &[
        Key::new("environment", Same("env of every service")),
        Key::new("directory", Same("cwd of every service without `directory`")),
        Key::new(
            "umask",
            Changed(
                "command",
                "of every service without `umask`; 022, supervisord's default, is ganger's too",
            ),
        ),
        Key::new("user", Same("user of every service without `user`")),
        Key::new(
            "nodaemon",
            Left(
                "`ganger up` or `ganger daemon` in the foreground, `ganger up -d` in the background",
            ),
        ),
        Key::new("logfile", OWN_LOG),
        Key::new("logfile_maxbytes", OWN_LOG),
        Key::new("logfile_backups", OWN_LOG),
        Key::new("loglevel", OWN_LOG),
        Key::new("silent", OWN_LOG),
        Key::new("childlogdir", OWN_LOG),
        Key::new(
            "pidfile",
            Left("a lock in the state folder tells who runs; `ganger status` shows the pid"),
        ),
        Key::new(
            "minfds",
            Left("ganger raises its own limit itself; `limits = { files = N }` sets a service's"),
        ),
        Key::new("minprocs", Left("`limits = { pids = N }` sets a service's")),
        Key::new("nocleanup", Left("there are no automatic log files to clean up")),
        Key::new("strip_ansi", Left("logs are kept as they are said")),
        Key::new("identifier", Left("only supervisord's RPC uses it")),
    ],
};

/// Whole sections: how they begin, and why they are left out.
pub(in crate::config::import) const SECTIONS: &[(&str, &str)] = &[
    (
        "eventlistener:",
        "it speaks supervisord's event protocol; a service that reads `ganger events -f --json` does the same",
    ),
    (
        "fcgi-program:",
        "a FastCGI program wants its socket as descriptor 0; let it listen itself, or `listen` passes one from 3 on (LISTEN_FDS)",
    ),
    ("unix_http_server", "the API listens on the Unix socket in the state folder"),
    ("inet_http_server", "the API listens on the Unix socket in the state folder only"),
    ("supervisorctl", "`ganger ps`, `start`, `stop`, `restart` need no configuration"),
    ("rpcinterface:", "there is no XML-RPC; the API is HTTP with JSON"),
    ("ctlplugin:", "there are no plugins of supervisorctl's"),
];
