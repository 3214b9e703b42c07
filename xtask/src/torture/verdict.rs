//! Claims and whether they held.

use crate::tally::Tally;

/// Collects claims, printing each as it is decided.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    tally: Tally,
}

/// Broken examples that are printed of each claim.
const SHOWN: usize = 8;

impl Verdict {
    /// A claim that holds when `broken` is empty; else its first entries are printed.
    pub(crate) fn claim(&mut self, claim: &str, broken: &[String]) {
        if broken.is_empty() {
            println!("  ok      {claim}");
            self.tally.passed += 1;
            return;
        }
        println!("  FAILED  {claim}: {} times", broken.len());
        for example in broken.iter().take(SHOWN) {
            println!("          {example}");
        }
        self.tally.fail(format!("torture: {claim}"));
    }

    /// A claim that is either so or not.
    pub(crate) fn so(&mut self, claim: &str, holds: bool, otherwise: &str) {
        let broken: &[String] = if holds { &[] } else { &[otherwise.to_owned()] };
        self.claim(claim, broken);
    }

    /// Claims that did not hold so far.
    pub(crate) fn red(&self) -> usize {
        self.tally.failed.len()
    }

    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }
}
