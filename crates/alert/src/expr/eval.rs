//! What a condition says about one object at one time, and the comparison that shows it.

use serde::{Deserialize, Serialize};

use super::show;
use super::{Compare, Expr, Node, Sum, Unit};
use crate::values::{Object, Selector, Time, Values};

/// True, false, or not to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// The condition holds.
    True,
    /// It does not.
    False,
    /// A value that decides is missing.
    Missing,
}

impl Truth {
    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Missing => Self::Missing,
        }
    }

    /// True wins over missing, missing over false.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::Missing, _) | (_, Self::Missing) => Self::Missing,
            _ => Self::False,
        }
    }

    fn and(self, other: Self) -> Self {
        self.not().or(other.not()).not()
    }
}

impl From<bool> for Truth {
    fn from(yes: bool) -> Self {
        if yes { Self::True } else { Self::False }
    }
}

/// One comparison as it came out: what was read, against what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was read, as the rule wrote it: `p95(latency, 5m)`.
    pub what: String,
    /// `>` and the like.
    pub op: String,
    /// The value; `None`: missing.
    pub value: Option<f64>,
    /// What it was compared with; `None`: missing.
    pub threshold: Option<f64>,
    /// Of both.
    pub unit: Unit,
    /// Whether it held.
    pub held: Truth,
}

/// See [`Expr::verdict`].
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Of the whole.
    pub truth: Truth,
    /// Of each comparison, in the order of the text.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// The comparison that tells most: the first that agrees with the whole.
    #[must_use]
    pub fn main(&self) -> Option<&Evidence> {
        let agrees = self.evidence.iter().find(|evidence| evidence.held == self.truth);
        agrees.or(self.evidence.first())
    }
}

impl Expr {
    /// What the condition says about the object at that time.
    pub fn verdict(&self, object: &Object, values: &impl Values, now: Time) -> Verdict {
        let mut at = At { object, values, now, evidence: Vec::new() };
        let truth = at.truth(&self.root);
        Verdict { truth, evidence: at.evidence }
    }
}

struct At<'a, V> {
    object: &'a Object,
    values: &'a V,
    now: Time,
    evidence: Vec<Evidence>,
}

impl<V: Values> At<'_, V> {
    fn truth(&mut self, node: &Node) -> Truth {
        match node {
            // Every part is looked at, so that the evidence is whole.
            Node::And(all) => all.iter().fold(Truth::True, |so_far, n| so_far.and(self.truth(n))),
            Node::Or(all) => all.iter().fold(Truth::False, |so_far, n| so_far.or(self.truth(n))),
            Node::Not(inner) => self.truth(inner).not(),
            Node::Compared(compare, left, right) => self.compared(*compare, left, right),
            Node::Found(finding) => {
                let zero = Node::Number(0.0, Unit::Plain);
                self.compared(Compare::More, finding, &zero)
            }
            // The parser lets no number stand here.
            _ => Truth::Missing,
        }
    }

    fn compared(&mut self, compare: Compare, left: &Node, right: &Node) -> Truth {
        let (value, threshold) = (self.number(left), self.number(right));
        let held = match (value, threshold) {
            (Some(a), Some(b)) => Truth::from(holds(compare, a, b)),
            _ => Truth::Missing,
        };
        let unit = match show::unit(right) {
            Unit::Plain => show::unit(left),
            unit => unit,
        };
        let (what, op) = (show::node(left), show::sign(compare).to_owned());
        self.evidence.push(Evidence { what, op, value, threshold, unit, held });
        held
    }

    /// Of the selected object, or the rule's own: a selector that selects that one, patterns too, means it.
    fn object(&self, selector: Option<&Selector>) -> Option<Object> {
        match selector {
            Some(selector) if !selector.matches(self.object) => selector.only(),
            _ => Some(self.object.clone()),
        }
    }

    fn number(&mut self, node: &Node) -> Option<f64> {
        let value = match node {
            Node::Number(n, _) => *n,
            Node::Value(query, selector) => {
                self.values.value(&self.object(selector.as_ref())?, query, self.now)?
            }
            Node::Finding(detector, selector) => {
                self.values.finding(&self.object(selector.as_ref())?, detector, self.now)?
            }
            Node::Negated(inner) => -self.number(inner)?,
            Node::Sum(sum, a, b) => {
                let (a, b) = (self.number(a)?, self.number(b)?);
                match sum {
                    Sum::Add => a + b,
                    Sum::Subtract => a - b,
                    Sum::Multiply => a * b,
                    Sum::Divide => a / b,
                }
            }
            _ => return None,
        };
        // A division by zero, or a source that gave no number: there is no value.
        value.is_finite().then_some(value)
    }
}

pub(crate) fn holds(compare: Compare, a: f64, b: f64) -> bool {
    match compare {
        Compare::Less => a < b,
        Compare::LessEqual => a <= b,
        Compare::More => a > b,
        Compare::MoreEqual => a >= b,
        Compare::Equal => a == b,
        Compare::NotEqual => a != b,
    }
}
