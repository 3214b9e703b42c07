//! Which of a policy's rules could agree with arguments: a thousand of them are not tried one after the other.
//!
//! ```text
//! rules ─┬─ a subcommand ───────────────── by its first word
//!        ├─ first operand written down ─── by its texts, wherever among the arguments
//!        ├─ first operand a pattern ────── one set of all patterns, over every argument
//!        └─ others ─────────────────────── always tried
//! ```
//!
//! What is found is only tried: an index that finds too much costs time, and none may find too little.

use std::collections::HashMap;

use regex::RegexSet;

use crate::argv::Compiled;
use crate::model::{Kind, Rule};
use crate::value::whole_set;

/// So many rules are simply tried: the reason is then always that of the one that came nearest.
const TRIED_MAX: usize = 32;

#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// Positions of rules by the first word of their subcommand.
    by_word: HashMap<String, Vec<usize>>,
    /// Those without, whose first operand is written down, by what it may be.
    by_operand: HashMap<String, Vec<usize>>,
    /// Those whose first operand must agree with a pattern, and the patterns as one.
    by_pattern: Option<(RegexSet, Vec<usize>)>,
    /// All others.
    others: Vec<usize>,
}

impl Index {
    pub(crate) fn new(rules: &[Compiled]) -> Self {
        let mut index = Self::default();
        if rules.len() <= TRIED_MAX {
            return index;
        }
        let (mut patterns, mut patterned) = (Vec::new(), Vec::new());
        for (at, rule) in rules.iter().enumerate() {
            if let Some(word) = rule.rule.subcommand.first() {
                index.by_word.entry(word.clone()).or_default().push(at);
                continue;
            }
            match first(&rule.rule) {
                Some(First::Texts(texts)) => texts.iter().for_each(|text| {
                    index.by_operand.entry(text.clone()).or_default().push(at);
                }),
                Some(First::Pattern(pattern)) => {
                    patterns.push(pattern);
                    patterned.push(at);
                }
                None => index.others.push(at),
            }
        }
        match whole_set(&patterns).filter(|_| patterned.len() > TRIED_MAX) {
            Some(set) => index.by_pattern = Some((set, patterned)),
            None => index.others.extend(patterned),
        }
        index
    }

    /// Rules that could agree with arguments, in the order of their ids. If none could, some, for the sake of the reason.
    pub(crate) fn find<'a>(&self, rules: &'a [Compiled], args: &[&str]) -> Vec<&'a Compiled> {
        if rules.len() <= TRIED_MAX {
            return rules.iter().collect();
        }
        let by_word = args.first().and_then(|word| self.by_word.get(*word));
        // Wherever it stands: options and their values may come before the first operand.
        let by_operand = args.iter().filter_map(|arg| self.by_operand.get(*arg));
        let some = by_word.into_iter().chain(by_operand).flatten();
        let mut found: Vec<usize> = some.chain(&self.others).copied().collect();
        if let Some((set, positions)) = &self.by_pattern {
            let matches = args.iter().flat_map(|arg| set.matches(arg));
            found.extend(matches.map(|at| positions[at]));
        }
        if found.is_empty() {
            return rules.iter().take(TRIED_MAX).collect();
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|at| &rules[at]).collect()
    }
}

enum First<'a> {
    Texts(&'a [String]),
    Pattern(&'a str),
}

/// What the first operand must be, if it must be there.
fn first(rule: &Rule) -> Option<First<'_>> {
    let first = rule.args.first().filter(|operand| !operand.optional)?;
    match &first.kind {
        Kind::Literal(text) => Some(First::Texts(std::slice::from_ref(text))),
        Kind::Enum(all) => Some(First::Texts(all)),
        Kind::Regex { pattern, .. } => Some(First::Pattern(pattern)),
        _ => None,
    }
}
