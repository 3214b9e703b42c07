//! The report as one HTML file: no script, nothing loaded from anywhere, light and dark, and fit to print.

use crate::chart;
use crate::model::Report;
use crate::page::Page;
use crate::sections::{Block, Section, minute, sections};

const STYLE: &str = include_str!("style.css");

/// The report as a page.
#[must_use]
pub fn html(report: &Report) -> String {
    let mut page = Page::default();
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // What should get past the escaping still runs nothing and loads nothing.
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width\">\n<title>Security report of ");
    page.text(host(report))
        .raw("</title>\n<style>\n")
        .raw(STYLE)
        .raw("</style>\n</head>\n<body>\n");
    page.raw("<header><h1>Security report of ").text(host(report)).raw("</h1>\n<p>");
    page.text(&format!("{} to {} (UTC)", minute(&report.from), minute(&report.until)));
    page.raw(", made ").text(&minute(&report.made)).raw(" by ganger</p></header>\n");
    for section in sections(report) {
        write(&section, report, &mut page);
    }
    page.raw("</body>\n</html>\n");
    page.done()
}

pub(crate) fn host(report: &Report) -> &str {
    if report.host.is_empty() { "this machine" } else { &report.host }
}

fn write(section: &Section, report: &Report, page: &mut Page) {
    page.raw("<section>\n<h2>").text(section.title).raw("</h2>\n");
    for block in &section.blocks {
        match block {
            Block::Text(text) => {
                page.raw("<p>").text(text).raw("</p>\n");
            }
            Block::Verdict(tone, text) => {
                page.raw("<p class=\"verdict ").text(tone.class()).raw("\">");
                page.text(text).raw("</p>\n");
            }
            Block::Facts(facts) => {
                page.raw("<ul class=\"facts\">\n");
                for (tone, name, value) in facts {
                    page.raw("<li class=\"").text(tone.class()).raw("\"><b>");
                    page.text(&value.to_string()).raw("</b> ").text(name).raw("</li>\n");
                }
                page.raw("</ul>\n");
            }
            Block::Timeline => {
                chart::timeline(&report.timeline, page);
                page.raw("\n");
            }
            Block::Bars(label, most, bars) => {
                chart::bars(label, *most, bars, page);
                page.raw("\n");
            }
            Block::Table(heads, rows) => table(heads, rows, page),
        }
    }
    page.raw("</section>\n");
}

fn table(heads: &[&str], rows: &[Vec<String>], page: &mut Page) {
    if rows.is_empty() {
        return;
    }
    let is_number = |at: usize| heads.get(at).is_some_and(|head| head.ends_with('#'));
    page.raw("<div class=\"wide\"><table>\n<thead><tr>");
    for (at, head) in heads.iter().enumerate() {
        page.raw(if is_number(at) { "<th class=\"n\">" } else { "<th>" });
        page.text(head.trim_end_matches('#')).raw("</th>");
    }
    page.raw("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.raw("<tr>");
        for (at, cell) in row.iter().enumerate() {
            page.raw(if is_number(at) { "<td class=\"n\">" } else { "<td>" });
            page.text(cell).raw("</td>");
        }
        page.raw("</tr>\n");
    }
    page.raw("</tbody></table></div>\n");
}
