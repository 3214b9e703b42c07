//! Classes of errors: `ConnectionError`, `psycopg.*`, `*Timeout`.

use ganger_core::{TaskBackoff, pattern};
use serde::{Deserialize, Serialize};

use super::RetryRules;

/// Rules of one queue. They are looked through at each failure, and nobody oversees more.
pub const CLASS_RULES_MAX: usize = 64;

/// What is different for errors of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRule {
    /// The class as the worker's language names it; `*` stands for any text. An exact name wins over a pattern, a pattern with
    /// more letters over one with fewer.
    pub class: String,
    /// What then.
    pub then: OnClass,
}

/// What a failure of a class leads to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnClass {
    /// No further attempt: it would fail as well.
    Discard,
    /// Others of these than the queue's.
    Retry {
        /// Attempts in all.
        max: Option<u32>,
        /// Wait between them.
        backoff: Option<TaskBackoff>,
    },
}

impl RetryRules {
    /// The rule for an error of this class.
    #[must_use]
    pub fn of_class(&self, class: Option<&str>) -> Option<OnClass> {
        let class = class?;
        let rank = |rule: &ClassRule| {
            let letters = rule.class.chars().filter(|c| *c != '*').count();
            (rule.class == class, letters)
        };
        let matching = self.classes.iter().filter(|rule| pattern::matches(&rule.class, class));
        matching.max_by_key(|rule| rank(rule)).map(|rule| rule.then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(classes: &[(&str, u32)]) -> RetryRules {
        let rule = |(class, max): &(&str, u32)| ClassRule {
            class: (*class).to_owned(),
            then: OnClass::Retry { max: Some(*max), backoff: None },
        };
        RetryRules { classes: classes.iter().map(rule).collect(), ..RetryRules::default() }
    }

    #[test]
    fn the_nearest_rule_wins() {
        let rules = rules(&[("*", 1), ("http.*", 2), ("http.Client*", 3), ("http.ClientError", 4)]);
        let max = |class| match rules.of_class(Some(class)) {
            Some(OnClass::Retry { max: Some(max), .. }) => max,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            ["X", "http.Other", "http.ClientTimeout", "http.ClientError"].map(max),
            [1, 2, 3, 4]
        );
        assert_eq!(rules.of_class(None), None);
        assert_eq!(RetryRules::default().of_class(Some("B")), None);
    }
}
