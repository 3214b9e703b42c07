//! How log lines look: `name │ line` for people, one object per line for scripts.

use ganger_logs::Line;
use serde::Serialize;

use crate::error::CliError;
use crate::text;
use crate::ui::Out;

/// Names wider than this push their own line only, not the column.
const WIDEST_NAME: usize = 24;
/// Colours of names: told apart on dark and light backgrounds.
const PALETTE: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

/// Prints lines; remembers how wide the name column is.
#[derive(Debug)]
pub(crate) struct Printer {
    look: Look,
    coloured: bool,
    stamps: bool,
    width: usize,
}

/// Which look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// `name │ line`.
    Prefixed,
    /// The line alone.
    Bare,
    /// JSON.
    Json,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    v: u8,
    ts: ganger_api::Timestamp,
    name: &'a str,
    slot: u32,
    stream: ganger_core::Stream,
    line: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    continued: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_before: Option<u64>,
}

impl Printer {
    /// A printer. `names` are those expected, so that the first line has the right column already.
    pub(crate) fn new(look: Look, coloured: bool, stamps: bool, names: &[String]) -> Self {
        let width = names.iter().map(|name| name.len() + 2).max().unwrap_or(0).min(WIDEST_NAME);
        Self { look, coloured, stamps, width }
    }

    /// Prints one line.
    pub(crate) fn print(&mut self, line: &Line, out: &mut Out) -> Result<(), CliError> {
        if self.look == Look::Json {
            return out.json_line(&JsonLine {
                v: 1,
                ts: ganger_api::Timestamp(line.ts_ms()),
                name: &line.name,
                slot: line.slot,
                stream: line.stream,
                line: &line.line,
                continued: line.continued,
                lost_before: (line.lost_before > 0).then_some(line.lost_before),
            });
        }
        if line.lost_before > 0 {
            let lost = format!("… {} lost …", text::bytes(line.lost_before));
            self.prefixed(line, &lost, out)?;
        }
        self.prefixed(line, &line.line, out)
    }

    fn prefixed(&mut self, line: &Line, content: &str, out: &mut Out) -> Result<(), CliError> {
        if self.stamps {
            out.bytes(text::clock(line.ts_ms()).as_bytes())?;
            out.bytes(b"  ")?;
        }
        if self.look == Look::Prefixed {
            let name = format!("{}#{}", line.name, line.slot);
            self.width = self.width.max(name.len().min(WIDEST_NAME));
            let width = self.width;
            let prefix = if self.coloured {
                format!("\x1b[{}m{name:<width$} │\x1b[0m ", colour_of(&line.name))
            } else {
                format!("{name:<width$} │ ")
            };
            out.bytes(prefix.as_bytes())?;
        }
        out.line(content)
    }
}

/// The same name has the same colour in every call.
fn colour_of(name: &str) -> &'static str {
    let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    PALETTE[sum % PALETTE.len()]
}
