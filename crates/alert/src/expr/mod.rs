//! The language of `when`: `p95(task_duration{queue:images}, 5m) > 2s and not finding(stall)`.
//!
//! ```text
//! or         := and { "or" and }                       metric   := name [ "{" item { "," item } "}" ]
//! and        := not { "and" not }                      item     := "host" | kind ":" name-or-pattern | label "=" "'text'"
//! not        := "not" not | comparison                 call     := ("p50"…"p99.9"|"avg"|"min"|"max"|"sum"|"last"|"rate") "(" metric "," time ")"
//! comparison := sum [ (< <= > >= == !=) sum ]                     | "finding" "(" detector [ items ] ")"
//! sum        := product { ("+"|"-") product }          number   := digits [ unit ]: 80%  512MiB  5s  1.5
//! product    := unary { ("*"|"/") unary }              unary    := "-" unary | number | metric | call | "(" or ")"
//! ```
//!
//! What is compared must be numbers, what is joined must be true or false; both are checked when the text is read, with the place of
//! the fault. A finding alone is true when anything was found. A metric without a selector is that of the object the rule is about.
//!
//! Missing values follow Kleene's logic: false decides an `and`, true an `or`, whatever the missing part would be; else the whole is missing.

mod eval;
mod lex;
mod parse;
mod show;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::values::{Query, Selector};

pub use eval::{Evidence, Truth, Verdict};
pub use show::number;

/// Longest text of an expression, in bytes.
pub const TEXT_MAX: usize = 4 * 1024;
/// Deepest nesting: what a person can read, and far from the end of a stack.
pub const DEPTH_MAX: u32 = 32;

/// What a number counts, as far as the text tells; for showing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Just a number.
    #[default]
    Plain,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Parts of one, shown as per cent.
    Ratio,
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    More,
    /// `>=`
    MoreEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// `+ - * /`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// A part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Number(f64, Unit),
    /// `None`: of the rule's object.
    Value(Query, Option<Selector>),
    Finding(String, Option<Selector>),
    Negated(Box<Node>),
    Sum(Sum, Box<Node>, Box<Node>),
    Compared(Compare, Box<Node>, Box<Node>),
    /// A finding that stands alone.
    Found(Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// A condition that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub(crate) root: Node,
    /// The first selector of the text: what the rule is about unless it says `on`.
    pub(crate) subject: Option<Selector>,
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", help.as_ref().map(|help| format!("; {help}")).unwrap_or_default())]
pub struct ExprError {
    /// What is wrong.
    pub message: String,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What to write instead.
    pub help: Option<String>,
}

impl ExprError {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The text with the fault underlined, and the message: three lines.
    #[must_use]
    pub fn drawn(&self, text: &str) -> String {
        let width = |part: Option<&str>| part.map_or(0, |part| part.chars().count());
        let before = width(text.get(..self.span.start));
        let carets = width(text.get(self.span.clone())).max(1);
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{line}\n{}{}\n{self}", " ".repeat(before), "^".repeat(carets))
    }
}

impl Expr {
    /// Reads a condition.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        parse::condition(text)
    }

    /// The same condition with another threshold: `rss > 512MiB` with `400MiB`. Only for a single comparison with a number on its right.
    pub(crate) fn with_threshold(&self, number: f64) -> Option<Self> {
        let Node::Compared(compare, left, right) = &self.root else { return None };
        let Node::Number(_, unit) = **right else { return None };
        let right = Box::new(Node::Number(number, unit));
        Some(Self { root: Node::Compared(*compare, left.clone(), right), ..self.clone() })
    }

    /// The comparison and number of a single comparison.
    pub(crate) fn threshold(&self) -> Option<(Compare, f64)> {
        match &self.root {
            Node::Compared(compare, _, right) => match **right {
                Node::Number(number, _) => Some((*compare, number)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Every selector in the text, in order.
    pub(crate) fn selectors(&self) -> Vec<&Selector> {
        fn walk<'a>(node: &'a Node, found: &mut Vec<&'a Selector>) {
            match node {
                Node::Number(..) => {}
                Node::Value(_, selector) | Node::Finding(_, selector) => found.extend(selector),
                Node::Negated(one) | Node::Found(one) | Node::Not(one) => walk(one, found),
                Node::Sum(_, a, b) | Node::Compared(_, a, b) => {
                    walk(a, found);
                    walk(b, found);
                }
                Node::And(all) | Node::Or(all) => all.iter().for_each(|node| walk(node, found)),
            }
        }
        let mut found = Vec::new();
        walk(&self.root, &mut found);
        found
    }
}

/// What a rule reads.
#[derive(Debug, Default, PartialEq)]
pub struct Reads<'a> {
    /// Metrics, each of which objects.
    pub metrics: Vec<(&'a Selector, &'a Query)>,
    /// Detectors, each about which objects.
    pub findings: Vec<(&'a Selector, &'a str)>,
}

impl Expr {
    /// Adds what this reads; what has no selector is of `subject`.
    pub(crate) fn reads<'a>(&'a self, subject: &'a Selector, into: &mut Reads<'a>) {
        fn walk<'a>(node: &'a Node, subject: &'a Selector, into: &mut Reads<'a>) {
            match node {
                Node::Number(..) => {}
                Node::Value(query, of) => {
                    into.metrics.push((of.as_ref().unwrap_or(subject), query))
                }
                Node::Finding(name, of) => {
                    into.findings.push((of.as_ref().unwrap_or(subject), name))
                }
                Node::Negated(one) | Node::Found(one) | Node::Not(one) => walk(one, subject, into),
                Node::Sum(_, a, b) | Node::Compared(_, a, b) => {
                    walk(a, subject, into);
                    walk(b, subject, into);
                }
                Node::And(all) | Node::Or(all) => {
                    all.iter().for_each(|node| walk(node, subject, into));
                }
            }
        }
        walk(&self.root, subject, into);
    }
}

/// A number alone, with its unit: `400MiB`.
pub(crate) fn literal(text: &str) -> Option<f64> {
    parse::number_only(text)
}
