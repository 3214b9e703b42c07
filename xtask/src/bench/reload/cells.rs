//! What is compared: programs, how connections come to them, what the clients do, who manages them.

use std::fmt;
use std::path::Path;

/// A program of `apps/`, or this very one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    Http,
    Express,
    Python,
    Rust,
}

/// How connections come to its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// ganger's `listen`, with this `listen_mode`.
    Listen(&'static str),
    /// ganger's `node_cluster`: the program as it is.
    Cluster,
    /// PM2's cluster mode: the program as it is.
    Pm2,
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) app: App,
    pub(super) way: Way,
    /// `node_drain`.
    pub(super) drain: bool,
    pub(super) keep_alive: bool,
}

impl Cell {
    /// Every line, in order.
    pub(super) fn all() -> Vec<Self> {
        let mut cells = vec![];
        for keep_alive in [false, true] {
            for app in [App::Http, App::Express] {
                let cell = |way, drain| Self { app, way, drain, keep_alive };
                cells.extend([
                    cell(Way::Listen("reuseport"), false),
                    cell(Way::Listen("reuseport"), true),
                    cell(Way::Listen("inherit"), true),
                    cell(Way::Cluster, false),
                    cell(Way::Cluster, true),
                    cell(Way::Pm2, false),
                ]);
            }
            for app in [App::Python, App::Rust] {
                let cell = |mode| Self { app, way: Way::Listen(mode), drain: false, keep_alive };
                cells.extend([cell("reuseport"), cell("inherit")]);
            }
        }
        cells
    }

    /// No request may fail: new connections where the kernel or the primary gives none to one that goes, and whatever Node
    /// serves with `node_drain`.
    pub(super) fn aims_at_zero(self) -> bool {
        match self.way {
            Way::Pm2 => false,
            Way::Listen("inherit") => self.drain,
            Way::Listen(_) | Way::Cluster => self.drain || !self.keep_alive,
        }
    }

    /// `ganger.toml` for it. `bad`: what BAD is to be in its environment.
    pub(super) fn toml(self, place: &Place<'_>, port: u16, bad: Option<&str>) -> String {
        let mut text = String::from("version = 1\n[service.web]\n");
        let mut line = |key: &str, value: &dyn fmt::Display| {
            text.push_str(&format!("{key} = {value}\n"));
        };
        line("command", &format!("{:?}", self.command(place)));
        line("replicas", &REPLICAS);
        if let Way::Listen(mode) = self.way {
            line("listen", &format!("[\"tcp://127.0.0.1:{port}\"]"));
            line("listen_mode", &format!("{mode:?}"));
        } else {
            line("node_cluster", &true);
        }
        if self.drain {
            line("node_drain", &true);
        }
        line("ready", &"{ log = \"listening\", timeout = \"10s\" }");
        line("reload", &format!("{{ healthy_for = {HEALTHY_FOR:?}, drain = {DRAIN:?} }}"));
        text.push_str("[service.web.env]\n");
        let mut line = |key: &str, value: &str| text.push_str(&format!("{key} = {value:?}\n"));
        line("PORT", &port.to_string());
        line("NODE_PATH", &place.tools.join("node_modules").to_string_lossy());
        if let Some(bad) = bad {
            line("BAD", bad);
        }
        text
    }

    /// PM2's file for it.
    pub(super) fn pm2(self, place: &Place<'_>, port: u16) -> String {
        let env =
            serde_json::json!({ "PORT": port, "NODE_PATH": place.tools.join("node_modules") });
        let script = self.command(place).pop();
        let app = serde_json::json!({
            "name": "web", "script": script, "instances": REPLICAS, "exec_mode": "cluster", "env": env,
            "out_file": "/dev/null", "error_file": "/dev/null",
        });
        serde_json::json!({ "apps": [app] }).to_string()
    }

    fn command(self, place: &Place<'_>) -> Vec<String> {
        let app = |name: &str| place.apps.join(name).to_string_lossy().into_owned();
        match self.app {
            App::Http => vec!["node".into(), app("http.cjs")],
            App::Express => vec!["node".into(), app("express.cjs")],
            App::Python => vec![place.python.to_owned(), app("server.py")],
            App::Rust => vec![place.own.to_string_lossy().into_owned(), "serve".into()],
        }
    }
}

/// Instances of each program.
const REPLICAS: u32 = 2;
/// Shorter than the default, so that twenty reloads are minutes; `--bad dies-after-2s` wants more than two seconds.
const HEALTHY_FOR: &str = "3s";
/// For connections that stay open: they do for as long as their clients ask.
const DRAIN: &str = "1s";

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The programs.
    pub(super) apps: &'a Path,
    /// What was installed.
    pub(super) tools: &'a Path,
    /// This program.
    pub(super) own: &'a Path,
    /// The interpreter itself: pyenv's shim would be a shell more.
    pub(super) python: &'a str,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = match self.app {
            App::Http => "Node http",
            App::Express => "Express",
            App::Python => "Python",
            App::Rust => "Rust",
        };
        let connections = if self.keep_alive { "keep-alive" } else { "new connections" };
        write!(f, "{app}, {connections}, ")?;
        match self.way {
            Way::Listen(mode) => write!(f, "{mode}")?,
            Way::Cluster => write!(f, "node_cluster")?,
            Way::Pm2 => write!(f, "PM2")?,
        }
        write!(f, "{}", if self.drain { " + node_drain" } else { "" })
    }
}
