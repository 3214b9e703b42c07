//! Counting what passed, failed and was skipped, and saying it in one plain last line.

use std::fmt;
use std::process::ExitCode;

/// What a run of tests came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Names of tests or steps that failed.
    pub(crate) failed: Vec<String>,
    /// What was not run, and why.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    pub(crate) fn fail(&mut self, name: impl Into<String>) {
        self.failed.push(name.into());
    }

    /// Prints failures, skips and the summary line; the exit code says whether all passed (and anything ran).
    pub(crate) fn report(&self) -> ExitCode {
        for skip in &self.skipped {
            println!("skipped: {skip}");
        }
        for name in &self.failed {
            println!("failed:  {name}");
        }
        println!("{self}");
        if self.failed.is_empty() && self.passed > 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    pub(crate) fn skip(&mut self, what: impl Into<String>) {
        self.skipped.push(what.into());
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed.len())?;
        if !self.skipped.is_empty() {
            write!(f, ", {} skipped", self.skipped.len())?;
        }
        Ok(())
    }
}
