//! The tables of docs/import.md, from what the mappers look up.

use std::fmt::Write as _;

use super::keys::{Fate, Table};
use super::{pm2, procfile, supervisord};

/// All tables as Markdown; docs/import.md holds exactly this between its marks.
#[must_use]
pub fn tables() -> String {
    let mut out = String::new();
    one("Procfile", &procfile::KEYS, &mut out);
    one("PM2: an app", &pm2::keys::APP, &mut out);
    one("PM2: beside `apps`", &pm2::keys::TOP, &mut out);
    one("supervisord: `[program:x]`", &supervisord::keys::PROGRAM, &mut out);
    one("supervisord: `[group:x]`", &supervisord::keys::GROUP, &mut out);
    one("supervisord: `[supervisord]`", &supervisord::keys::DAEMON, &mut out);
    out.push_str(
        "### supervisord: other sections\n\n| section | why it is left out |\n| --- | --- |\n",
    );
    for (start, why) in supervisord::keys::SECTIONS {
        let x = if start.ends_with(':') { "x" } else { "" };
        let _ = writeln!(out, "| `[{start}{x}]` | {} |", cell(why));
    }
    out.push_str("| `[include]` | read: `*`, `?` and `[…]` |\n");
    out
}

fn one(title: &str, table: &Table, out: &mut String) {
    let _ = writeln!(
        out,
        "### {title}\n\n| key | in ganger.toml | what is different |\n| --- | --- | --- |"
    );
    for key in table.keys {
        let names: Vec<String> =
            [key.name].iter().chain(key.aliases).map(|name| format!("`{name}`")).collect();
        let (ours, how) = match key.fate {
            Fate::Same(ours) => (ours_text(ours), ""),
            Fate::Changed(ours, how) => (ours_text(ours), how),
            Fate::Left(why) => ("not taken over".to_owned(), why),
        };
        let _ = writeln!(out, "| {} | {ours} | {} |", names.join(", "), cell(how));
    }
    out.push('\n');
}

fn ours_text(ours: &str) -> String {
    if ours.starts_with('(') || ours.contains(' ') { ours.to_owned() } else { format!("`{ours}`") }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
