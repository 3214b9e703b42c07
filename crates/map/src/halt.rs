//! When to stop early: `now,fail=1`, `soon,success=3`, `soon,fail=20%`. Pure.
//!
//! ```text
//! going ──soon──▶ no new jobs, those that run end by themselves
//!       └──now──▶ no new jobs, those that run are ended
//! ```

use std::str::FromStr;

/// What happens to jobs that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltWhen {
    /// They are ended.
    Now,
    /// They end by themselves.
    Soon,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltOn {
    /// Jobs that failed.
    Fail,
    /// Jobs that succeeded.
    Success,
    /// Both.
    Done,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u64),
    /// So many per cent of all jobs that ended, once three have.
    Percent(u8),
}

/// A share of fewer jobs than that says nothing (GNU parallel's number as well).
const LEAST: u64 = 3;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halt {
    /// What happens.
    pub when: HaltWhen,
    /// On what.
    pub on: HaltOn,
    /// At how many.
    pub amount: Amount,
}

impl FromStr for Halt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no rule; write now or soon, then fail, success or done, then a number or per cent: now,fail=1 or soon,fail=20%"
            )
        };
        let text = match text {
            "1" => "soon,fail=1",
            "2" => "now,fail=1",
            text => text,
        };
        let (when, rest) = text.split_once(',').ok_or_else(wrong)?;
        let (on, amount) = rest.split_once('=').ok_or_else(wrong)?;
        let when = match when {
            "now" => HaltWhen::Now,
            "soon" => HaltWhen::Soon,
            _ => return Err(wrong()),
        };
        let on = match on {
            "fail" => HaltOn::Fail,
            "success" => HaltOn::Success,
            "done" => HaltOn::Done,
            _ => return Err(wrong()),
        };
        let amount = match amount.strip_suffix('%') {
            Some(percent) => Amount::Percent(
                percent.parse().ok().filter(|n| (1..=100).contains(n)).ok_or_else(wrong)?,
            ),
            None => Amount::Count(amount.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?),
        };
        Ok(Self { when, on, amount })
    }
}

/// Jobs that ended, counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// With success.
    pub ok: u64,
    /// Without.
    pub failed: u64,
}

impl Tally {
    /// Counts an end; what the rule says to it.
    pub fn on_end(&mut self, ok: bool, rule: Option<Halt>) -> Option<HaltWhen> {
        if ok {
            self.ok += 1;
        } else {
            self.failed += 1;
        }
        let rule = rule?;
        let done = self.ok + self.failed;
        let counted = match rule.on {
            HaltOn::Fail => self.failed,
            HaltOn::Success => self.ok,
            HaltOn::Done => done,
        };
        let reached = match rule.amount {
            Amount::Count(most) => counted >= most,
            Amount::Percent(percent) => done >= LEAST && counted * 100 >= done * u64::from(percent),
        };
        reached.then_some(rule.when)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules_are_read_or_refused() {
        let rule = Halt { when: HaltWhen::Now, on: HaltOn::Fail, amount: Amount::Count(1) };
        assert_eq!("now,fail=1".parse(), Ok(rule));
        assert_eq!("2".parse(), Ok(rule));
        let soon = Halt { when: HaltWhen::Soon, on: HaltOn::Done, amount: Amount::Percent(20) };
        assert_eq!("soon,done=20%".parse(), Ok(soon));
        for wrong in
            ["", "now", "now,fail", "now,fail=0", "now,fail=101%", "later,fail=1", "now,x=1"]
        {
            assert!(wrong.parse::<Halt>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn halts_at_the_first_end_that_reaches_the_amount(ends in prop::collection::vec(any::<bool>(), 0..40), most in 1..10u64) {
            let rule = Halt { when: HaltWhen::Soon, on: HaltOn::Fail, amount: Amount::Count(most) };
            let mut tally = Tally::default();
            let first = ends.iter().position(|ok| tally.on_end(*ok, Some(rule)).is_some());
            let model = (0..ends.len()).find(|at| ends[..=*at].iter().filter(|ok| !**ok).count() as u64 >= most);
            prop_assert_eq!(first, model);
        }

        #[test]
        fn a_share_needs_three(percent in 1..=100u8, ends in prop::collection::vec(any::<bool>(), 0..40)) {
            let rule = Halt { when: HaltWhen::Now, on: HaltOn::Success, amount: Amount::Percent(percent) };
            let mut tally = Tally::default();
            for (at, ok) in ends.iter().enumerate() {
                let ended = at + 1;
                let good = ends[..ended].iter().filter(|ok| **ok).count();
                let expected = ended >= 3 && good * 100 >= ended * usize::from(percent);
                prop_assert_eq!(tally.on_end(*ok, Some(rule)).is_some(), expected);
            }
        }
    }
}
