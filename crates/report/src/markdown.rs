//! The report as Markdown: tables as GitHub reads them. What comes from the log can't become markup.

use crate::html::host;
use crate::model::Report;
use crate::sections::{Block, minute, sections};

/// The report as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = format!(
        "# Security report of {}\n\n{} to {} (UTC), made {} by ganger\n",
        escaped(host(report)),
        minute(&report.from),
        minute(&report.until),
        minute(&report.made)
    );
    for section in sections(report) {
        out.push_str(&format!("\n## {}\n", section.title));
        for block in &section.blocks {
            write(block, &mut out);
        }
    }
    out
}

fn write(block: &Block, out: &mut String) {
    match block {
        Block::Text(text) => out.push_str(&format!("\n{}\n", escaped(text))),
        Block::Verdict(_, text) => out.push_str(&format!("\n**{}**\n", escaped(text))),
        Block::Facts(facts) => {
            out.push('\n');
            for (_, name, value) in facts {
                out.push_str(&format!("- {value} {name}\n"));
            }
        }
        // A drawing; the facts above it have the sums.
        Block::Timeline => {}
        Block::Bars(label, _, bars) => {
            out.push_str(&format!("\n{label}:\n\n"));
            for (_, name, _, beside) in bars {
                out.push_str(&format!("- {}: {}\n", escaped(name), escaped(beside)));
            }
        }
        Block::Table(heads, rows) => table(heads, rows, out),
    }
}

fn table(heads: &[&str], rows: &[Vec<String>], out: &mut String) {
    if rows.is_empty() {
        return;
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    out.push('\n');
    out.push_str(&line(heads.iter().map(|head| head.trim_end_matches('#').to_owned()).collect()));
    let rule = |head: &&str| if head.ends_with('#') { "---:" } else { "---" }.to_owned();
    out.push_str(&line(heads.iter().map(rule).collect()));
    for row in rows {
        out.push_str(&line(row.iter().map(|cell| escaped(cell)).collect()));
    }
}

/// Everything that Markdown, or HTML within it, would read as more than text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' | '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    // Viewers make links of bare addresses.
    out.replace("://", "&#58;//").replace("www.", "www&#46;").replace('@', "&#64;")
}
