//! Thirty setups of public shapes: Procfiles, PM2's ecosystem files, supervisord.conf; and small programs that stand for theirs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A file of another tool's.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// What it is called where it is used.
    pub file: &'static str,
    /// What it says.
    pub text: &'static str,
}

macro_rules! setups {
    ($(#[$meta:meta])* $name:ident: $($from:literal as $file:literal),+ $(,)?) => {
        $(#[$meta])*
        pub const $name: &[Setup] =
            &[$(Setup { file: $file, text: include_str!(concat!("../setups/", $from)) }),+];
    };
}

setups! {
    /// Procfiles; `env` reads the `.env`.
    PROCFILES:
    "procfile/rails" as "Procfile.rails",
    "procfile/rails-dev" as "Procfile.rails-dev",
    "procfile/django" as "Procfile.django",
    "procfile/node" as "Procfile.node",
    "procfile/env" as "Procfile.env",
    "procfile/go" as "Procfile.go",
    "procfile/laravel" as "Procfile.laravel",
    "procfile/java" as "Procfile.java",
    "procfile/shell" as "Procfile.shell",
    "procfile/names" as "Procfile.names",
}

setups! {
    /// Ecosystem files.
    PM2:
    "pm2/plain.config.js" as "plain.config.js",
    "pm2/cluster.config.js" as "cluster.config.js",
    "pm2/fork.config.cjs" as "fork.config.cjs",
    "pm2/module.config.mjs" as "module.config.mjs",
    "pm2/ready.config.js" as "ready.config.js",
    "pm2/process.json" as "process.json",
    "pm2/single.json" as "single.json",
    "pm2/ecosystem.yml" as "ecosystem.yml",
    "pm2/one.yaml" as "one.yaml",
    "pm2/shell.config.js" as "shell.config.js",
}

setups! {
    /// Files of supervisord's.
    SUPERVISORD:
    "supervisord/plain.conf" as "supervisord-plain.conf",
    "supervisord/django.conf" as "supervisord-django.conf",
    "supervisord/numbered.conf" as "supervisord-numbered.conf",
    "supervisord/laravel.conf" as "supervisord-laravel.conf",
    "supervisord/docker.conf" as "supervisord-docker.conf",
    "supervisord/control.conf" as "supervisord-control.conf",
    "supervisord/include.conf" as "supervisord-include.conf",
    "supervisord/environment.conf" as "supervisord-environment.conf",
    "supervisord/java.conf" as "supervisord-java.conf",
    "supervisord/off.conf" as "supervisord-off.conf",
}

/// Programs that the setups name. Each says that it is ready if it has a channel, and lives.
const PROGRAMS: [&str; 17] = [
    "bash",
    "bundle",
    "celery",
    "gunicorn",
    "java",
    "nginx",
    "node",
    "npm",
    "php",
    "php-cgi",
    "php-fpm",
    "python3",
    "rails",
    "redis-server",
    "server",
    "www",
    "yarn",
];
/// `node -e` is ganger's own question to the real node, which also plays a server of a cluster.
const STUB: &str = r#"#!/bin/sh
case "${0##*/} $1" in "node -e") PATH=${SETUP_PATH:-$PATH}; export PATH; exec node "$@";; esac
if [ -n "$NODE_UNIQUE_ID" ]; then PATH=$SETUP_PATH; exec node "${0%/*}/../cluster.js"; fi
if [ -n "$NODE_CHANNEL_FD" ]; then echo '"ready"' >&"$NODE_CHANNEL_FD"; fi
exec sleep 1000
"#;
/// Scripts that need to be there to be given to an interpreter.
const SCRIPTS: [&str; 6] = ["index.js", "worker.js", "crawl.py", "feed.sh", "artisan", "app.py"];

/// Writes the programs, scripts, included files and `.env` that the setups use into a folder; `bin` below it belongs on `PATH`.
///
/// # Panics
/// If that can't be done.
pub fn furnish(dir: &Path) {
    for folder in ["bin", "app", "conf.d"] {
        fs::create_dir_all(dir.join(folder)).expect("a folder can be made");
    }
    for program in PROGRAMS {
        let path = dir.join("bin").join(program);
        fs::write(&path, STUB).expect("a program can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may run");
    }
    let mut files: Vec<(String, &str)> =
        SCRIPTS.iter().map(|name| ((*name).to_owned(), "exec sleep 1000\n")).collect();
    files.push(("app/crawl.py".into(), ""));
    files.push(("cluster.js".into(), "require('net').createServer().listen(0)\n"));
    files.push((".env".into(), "APP_NAME=the app\nPORT=5100\n"));
    files.push((
        "conf.d/10-web.conf".into(),
        "[program:web]\ncommand=sh -c 'test \"$STAGE\" = test && exec sleep 1000'\n",
    ));
    files.push(("conf.d/20-jobs.conf".into(), "[program:jobs]\ncommand=%(here)s/bin/server\n"));
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("a file can be written");
    }
}
