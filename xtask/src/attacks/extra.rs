//! Cases that need more than one command.

use anyhow::Result;

use super::Verdict;
use super::play::PWNED;
use super::stage::Said;

type Case = (&'static str, &'static str, Verdict, String);

/// All of them, against the daemon that `verb` talks to.
pub(super) fn all(verb: &impl Fn(&[&str]) -> Result<Said>) -> Result<Vec<Case>> {
    Ok(vec![seldom(verb)?, secret(verb)?, whole(verb)?])
}

/// The first is the control: it is allowed.
fn seldom(verb: &impl Fn(&[&str]) -> Result<Said>) -> Result<Case> {
    /// "Too often or too many at once".
    const LIMITED: i32 = 10;
    let ask = || verb(&["exec", "seldom", "--", "say"]);
    let (first, second) = (ask()?, ask()?);
    let verdict = if !first.has_line(PWNED) {
        Verdict::Void
    } else if second.has_line(PWNED) {
        Verdict::Hole
    } else if second.code == Some(LIMITED) {
        Verdict::Blocked
    } else {
        Verdict::Unshown
    };
    Ok(("J02", "more often than its rate", verdict, second.text))
}

/// A secret where it belongs, and where no rule expects one. The control is a word of a policy that knows of no secret.
fn secret(verb: &impl Fn(&[&str]) -> Result<Said>) -> Result<Case> {
    const SECRET: &str = "hunter2hunter2";
    const WORD: &str = "everybodys-word";
    verb(&["exec", "echo", "--", "echo", WORD])?;
    let mut told = String::new();
    for args in [
        &["exec", "login", "--", "variable", "--token=hunter2hunter2"][..],
        &["exec", "login", "--", "variable", "--token", SECRET],
        &["exec", "login", "--", "variable", "--tokn=hunter2hunter2"],
        &["exec", "login", "--", "variable", "-thunter2hunter2"],
        &["exec", "login", "--json", "--", "variable", "-v", "--toke", SECRET],
    ] {
        told += &verb(args)?.text;
    }
    let log = verb(&["audit", "export", "--format", "jsonl"])?.text;
    let verdict = if !log.contains(WORD) {
        Verdict::Void
    } else if log.contains(SECRET) || told.contains(SECRET) {
        Verdict::Hole
    } else {
        Verdict::Blocked
    };
    Ok(("J13", "a secret in the log or in what is told", verdict, told))
}

fn whole(verb: &impl Fn(&[&str]) -> Result<Said>) -> Result<Case> {
    let said = verb(&["audit", "verify"])?;
    let verdict = if said.code == Some(0) { Verdict::Blocked } else { Verdict::Unshown };
    Ok(("J05", "the log after all of it", verdict, said.text))
}
