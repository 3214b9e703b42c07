//! Metrics as text: Prometheus 0.0.4 and OpenMetrics 1.0, streamed into one buffer that is used again.
//!
//! ```
//! use ganger_series::text::{Encoder, Family, Format, Type};
//!
//! let mut text = String::new();
//! let mut to = Encoder::new(&mut text, Format::OpenMetrics);
//! to.family(&Family::new("ganger_tasks_pushed", Type::Counter, "Tasks pushed"));
//! to.sample(&[("queue", "mail")], 7u64);
//! to.finish();
//! assert_eq!(
//!     text,
//!     "# HELP ganger_tasks_pushed Tasks pushed\n# TYPE ganger_tasks_pushed counter\n\
//!      ganger_tasks_pushed_total{queue=\"mail\"} 7\n# EOF\n"
//! );
//! ```
//!
//! Families are described without suffixes; `_total`, `_bucket`, `_sum`, `_count` and `_info` are put where each format wants them. What no name or
//! label may be is mended (`_`), because a scrape that fails for one bad name loses all. Sources: "Exposition formats" of the
//! Prometheus documentation; OpenMetrics 1.0 (`github.com/prometheus/OpenMetrics`).

mod value;

pub use value::Value;

use std::fmt::Write;

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What an HTTP answer says it is.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What an `Accept` header asks for, by the weights in it: OpenMetrics if it is not wanted less than plain text, which everybody
    /// reads and which is the answer to anything else.
    #[must_use]
    pub fn of_accept(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0f32, 0.0f32);
        for part in accept.split(',') {
            let mut words = part.split(';').map(str::trim);
            let media = words.next().unwrap_or_default();
            let mut q = 1.0f32;
            let mut version = None;
            for word in words {
                match word.split_once('=') {
                    Some(("q", weight)) => q = weight.parse().unwrap_or(0.0),
                    Some(("version", given)) => version = Some(given),
                    _ => {}
                }
            }
            match media {
                "application/openmetrics-text"
                    if version.is_none_or(|version| version == "1.0.0" || version == "0.0.1") =>
                {
                    open = open.max(q);
                }
                "text/plain" | "text/*" | "*/*" => plain = plain.max(q),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// What a family's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A total that only grows.
    Counter,
    /// A level.
    Gauge,
    /// Counts in buckets.
    Histogram,
    /// Quantiles.
    Summary,
    /// Labels about something; the value is always 1.
    Info,
    /// Nobody knows.
    Unknown,
}

/// A family: metrics of one name.
#[derive(Debug, Clone, Copy)]
pub struct Family<'a> {
    /// Its name without `_total` and such, with the unit at its end if it has one.
    pub name: &'a str,
    /// What its numbers mean.
    pub kind: Type,
    /// One sentence.
    pub help: &'a str,
    /// `seconds`, `bytes`, …: OpenMetrics tells it, if the name ends with it.
    pub unit: Option<&'a str>,
}

impl<'a> Family<'a> {
    /// A family without a unit.
    #[must_use]
    pub const fn new(name: &'a str, kind: Type, help: &'a str) -> Self {
        Self { name, kind, help, unit: None }
    }

    /// Says the unit.
    #[must_use]
    pub const fn unit(mut self, unit: &'a str) -> Self {
        self.unit = Some(unit);
        self
    }
}

/// Writes families into a buffer.
#[derive(Debug)]
pub struct Encoder<'b> {
    out: &'b mut String,
    format: Format,
    /// Name of the open family, as it is written.
    name: String,
    kind: Type,
}

impl<'b> Encoder<'b> {
    /// Begins a scrape: the buffer is emptied and keeps its room.
    pub fn new(out: &'b mut String, format: Format) -> Self {
        out.clear();
        Self { out, format, name: String::new(), kind: Type::Unknown }
    }

    /// Begins a family: its samples follow. Families of one name must be written once, samples of one family in a row.
    pub fn family(&mut self, family: &Family<'_>) {
        self.name.clear();
        push_name(&mut self.name, family.name);
        self.kind = family.kind;
        let strip = match family.kind {
            Type::Counter => "_total",
            Type::Info => "_info",
            _ => "",
        };
        if !strip.is_empty() && self.name.ends_with(strip) {
            self.name.truncate(self.name.len() - strip.len());
        }
        // In the older format a family has the name that its samples have.
        let suffix = if self.format == Format::Prometheus { strip } else { "" };
        self.words(&["# HELP ", &self.name.clone(), suffix, " "]);
        self.escaped(family.help, self.format == Format::OpenMetrics);
        self.words(&["\n# TYPE ", &self.name.clone(), suffix, " ", self.type_name(), "\n"]);
        if let Some(unit) = family.unit
            && self.format == Format::OpenMetrics
            && self.name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
        {
            self.words(&["# UNIT ", &self.name.clone(), " ", unit, "\n"]);
        }
    }

    fn type_name(&self) -> &'static str {
        match (self.kind, self.format) {
            (Type::Counter, _) => "counter",
            (Type::Gauge, _) | (Type::Info, Format::Prometheus) => "gauge",
            (Type::Histogram, _) => "histogram",
            (Type::Summary, _) => "summary",
            (Type::Info, Format::OpenMetrics) => "info",
            (Type::Unknown, Format::Prometheus) => "untyped",
            (Type::Unknown, Format::OpenMetrics) => "unknown",
        }
    }

    /// A sample of the open family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        let suffix = match self.kind {
            Type::Counter => "_total",
            Type::Info => "_info",
            _ => "",
        };
        self.line(suffix, labels, None, value.into());
    }

    /// A histogram of the open family: upper bounds and how many values are in each bucket alone (not cumulated); what is above the last
    /// bound is in `count` only.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl IntoIterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) {
        let mut below = 0u64;
        for (bound, n) in buckets {
            if bound.is_infinite() {
                continue;
            }
            below = below.saturating_add(n);
            let bound = self.bound(bound);
            self.line("_bucket", labels, Some(("le", &bound)), below.into());
        }
        let count = count.max(below);
        self.line("_bucket", labels, Some(("le", "+Inf")), count.into());
        self.line("_sum", labels, None, sum.into());
        self.line("_count", labels, None, count.into());
    }

    /// A summary of the open family: (quantile, value)….
    pub fn summary(
        &mut self,
        labels: &[(&str, &str)],
        quantiles: impl IntoIterator<Item = (f64, f64)>,
        sum: f64,
        count: u64,
    ) {
        for (quantile, value) in quantiles {
            let quantile = self.bound(quantile);
            self.line("", labels, Some(("quantile", &quantile)), value.into());
        }
        self.line("_sum", labels, None, sum.into());
        self.line("_count", labels, None, count.into());
    }

    /// Ends the scrape.
    pub fn finish(self) {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    /// `1.0`, not `1`: in OpenMetrics the numbers of `le` and `quantile` are floats, and texts are compared.
    fn bound(&self, bound: f64) -> String {
        match self.format {
            Format::OpenMetrics => format!("{bound:?}"),
            Format::Prometheus => bound.to_string(),
        }
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        last: Option<(&str, &str)>,
        value: Value,
    ) {
        self.out.push_str(&self.name);
        self.out.push_str(suffix);
        let mut next = '{';
        for (name, text) in labels.iter().copied().chain(last) {
            self.out.push(next);
            next = ',';
            push_label(self.out, name);
            self.out.push_str("=\"");
            self.escaped(text, true);
            self.out.push('"');
        }
        if next == ',' {
            self.out.push('}');
        }
        // A String takes anything.
        let _ = writeln!(self.out, " {value}");
    }

    fn words(&mut self, words: &[&str]) {
        for word in words {
            self.out.push_str(word);
        }
    }

    fn escaped(&mut self, text: &str, quotes: bool) {
        for c in text.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if quotes => self.out.push_str("\\\""),
                c => self.out.push(c),
            }
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`; anything else becomes `_`.
fn push_name(out: &mut String, name: &str) {
    push_valid(out, name, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
fn push_label(out: &mut String, name: &str) {
    push_valid(out, name, |c| c.is_ascii_alphanumeric() || c == '_');
}

fn push_valid(out: &mut String, name: &str, is_valid: impl Fn(char) -> bool) {
    if name.chars().next().is_none_or(|c| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(name.chars().map(|c| if is_valid(c) { c } else { '_' }));
}

#[cfg(test)]
mod tests;
