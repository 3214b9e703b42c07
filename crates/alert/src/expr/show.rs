//! Parts of conditions and numbers, as people read them.

use std::time::Duration;

use ganger_core::Dur;

use super::{Compare, Node, Sum, Unit};
use crate::values::{Query, Read, Selector};

/// A number with its unit, three digits: `612 MiB`, `2.41 s`, `93.2 %`, `17`.
#[must_use]
pub fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Plain => digits(value),
        Unit::Ratio => format!("{} %", digits(value * 100.0)),
        Unit::Seconds if value.abs() >= 120.0 => {
            // Beyond two minutes whole seconds say enough.
            let whole = Dur(Duration::from_secs(value.abs().min(3e9).round() as u64));
            format!("{}{whole}", if value < 0.0 { "-" } else { "" })
        }
        Unit::Seconds if value != 0.0 && value.abs() < 1.0 => {
            format!("{} ms", digits(value * 1_000.0))
        }
        Unit::Seconds => format!("{} s", digits(value)),
        Unit::Bytes => {
            let units = ["B", "KiB", "MiB", "GiB", "TiB"];
            let mut left = value;
            let mut at = 0;
            while left.abs() >= 1_024.0 && at + 1 < units.len() {
                left /= 1_024.0;
                at += 1;
            }
            format!("{} {}", digits(left), units[at])
        }
    }
}

/// Three digits that mean something; whole numbers whole.
fn digits(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        return format!("{value:.0}");
    }
    let text = if value.abs() >= 10.0 { format!("{value:.1}") } else { format!("{value:.2}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(crate) fn sign(compare: Compare) -> &'static str {
    match compare {
        Compare::Less => "<",
        Compare::LessEqual => "<=",
        Compare::More => ">",
        Compare::MoreEqual => ">=",
        Compare::Equal => "==",
        Compare::NotEqual => "!=",
    }
}

/// The unit of a part: that of the literals in it.
pub(crate) fn unit(node: &Node) -> Unit {
    match node {
        Node::Number(_, unit) => *unit,
        Node::Negated(inner) => unit(inner),
        Node::Sum(Sum::Add | Sum::Subtract, a, b) => match unit(a) {
            Unit::Plain => unit(b),
            found => found,
        },
        _ => Unit::Plain,
    }
}

/// A part that gives a number, as the rule wrote it.
pub(crate) fn node(part: &Node) -> String {
    match part {
        Node::Number(n, unit) => number(*n, *unit),
        Node::Value(query, selector) => value(query, selector.as_ref()),
        Node::Finding(detector, selector) => {
            let items = selector.iter().map(|s| format!("{{{s}}}")).collect::<String>();
            format!("finding({detector}{items})")
        }
        Node::Negated(inner) => format!("-{}", node(inner)),
        Node::Sum(sum, a, b) => {
            let sign = match sum {
                Sum::Add => "+",
                Sum::Subtract => "-",
                Sum::Multiply => "*",
                Sum::Divide => "/",
            };
            let side = |part: &Node| match part {
                Node::Sum(..) => format!("({})", node(part)),
                _ => node(part),
            };
            format!("{} {sign} {}", side(a), side(b))
        }
        // True or false: never asked for.
        _ => String::new(),
    }
}

fn value(query: &Query, selector: Option<&Selector>) -> String {
    let mut items: Vec<String> = selector.iter().map(ToString::to_string).collect();
    items.extend(query.labels.iter().map(|(name, text)| format!("{name}='{text}'")));
    let items = if items.is_empty() { String::new() } else { format!("{{{}}}", items.join(", ")) };
    let metric = format!("{}{items}", query.metric);
    let Some(range) = query.range else { return metric };
    let function = match query.read {
        Read::Last => "last".to_owned(),
        Read::Avg => "avg".to_owned(),
        Read::Min => "min".to_owned(),
        Read::Max => "max".to_owned(),
        Read::Sum => "sum".to_owned(),
        Read::Rate => "rate".to_owned(),
        Read::Quantile(part) => format!("p{}", (part * 100_000.0).round() / 1_000.0),
    };
    format!("{function}({metric}, {})", Dur(range))
}
