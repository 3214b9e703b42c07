//! Requests that no command line can make: what stands in their bytes is refused, and recorded as refused.

use anyhow::Result;

use super::Verdict;
use super::daemon::Daemon;
use super::play::PWNED;
use super::policies::{is_denied, shown};

/// One request. The same without what is wrong with it runs, and says `PWNED`.
pub(super) struct Raw {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    path: &'static str,
    body: &'static [u8],
    reason: &'static str,
}

const SAY: &str = "/api/v1/exec/say";
/// What runs.
const GOOD: &[u8] = br#"{"args":["say"]}"#;

const fn raw(
    id: &'static str,
    what: &'static str,
    body: &'static [u8],
    reason: &'static str,
) -> Raw {
    Raw { id, what, path: SAY, body, reason }
}

const fn named(
    id: &'static str,
    what: &'static str,
    body: &'static [u8],
    reason: &'static str,
) -> Raw {
    Raw { path: "/api/v1/exec", ..raw(id, what, body, reason) }
}

#[rustfmt::skip]
pub(super) const RAWS: [Raw; 20] = [
    named("A16z", "a NUL behind the program's name", br#"{"command":["/usr/bin/cat\u0000"]}"#, "bytes"),
    named("A16l", "a newline behind the program's name", br#"{"command":["say\n"]}"#, "not_allowed"),
    named("A03r", "a program by a path with ..", br#"{"command":["/usr/bin/../bin/sh","-c","echo PWNED"]}"#, "not_allowed"),
    raw("C03", "NUL in an argument", br#"{"args":["say","a\u0000b"]}"#, "bytes"),
    raw("C03w", "NUL in the working folder", br#"{"args":["say"],"cwd":"/\u0000"}"#, "bytes"),
    raw("C03e", "NUL in a variable's name", br#"{"args":["say"],"env":{"X\u0000":"1"}}"#, "bytes"),
    raw("C03v", "NUL in a variable's value", br#"{"args":["say"],"env":{"X":"\u0000"}}"#, "bytes"),
    Raw { path: "/api/v1/exec/say%00x", ..raw("C03p", "NUL in the policy's name", GOOD, "not_allowed") },
    raw("C05", "bytes that are no UTF-8", b"{\"args\":[\"say\",\"\xff\"]}", "request"),
    raw("C05o", "overlong UTF-8", b"{\"args\":[\"say\",\"\xc0\xaf\"]}", "request"),
    raw("C05s", "half of a surrogate pair", br#"{"args":["say","\ud800"]}"#, "request"),
    raw("C06a", "arguments twice", br#"{"args":["say"],"args":["say"]}"#, "request"),
    raw("C06u", "a key nobody knows", br#"{"args":["say"],"shell":true}"#, "request"),
    raw("C06d", "64 lists in each other", br#"{"args":["say",[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#, "request"),
    raw("C06e", "1e400", br#"{"args":["say"],"stdin":{"bytes":1e400}}"#, "request"),
    raw("C06b", "a second request behind the first", br#"{"args":["say"]}{"args":["say"]}"#, "request"),
    raw("C09r", "an escape sequence", br#"{"args":["say","\u001b]0;PWNED\u0007"]}"#, "bytes"),
    raw("D08", "a variable twice", br#"{"args":["say"],"env":{"X":"1","X":"2"}}"#, "request"),
    raw("D08e", "a variable with =", br#"{"args":["say"],"env":{"X=Y":"1"}}"#, "bytes"),
    raw("D08n", "a variable without a name", br#"{"args":["say"],"env":{"":"1"}}"#, "bytes"),
];

impl Raw {
    pub(super) fn play(&self, daemon: &Daemon<'_>) -> Result<(Verdict, String)> {
        let good = daemon.post(SAY, GOOD)?;
        if !good.contains(PWNED) {
            return Ok((Verdict::Void, good));
        }
        daemon.fresh()?;
        let answer = daemon.post(self.path, self.body)?;
        let new = daemon.fresh()?;
        let ran = new.iter().any(|record| record["event"] == "intent");
        let (head, told) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let text = format!("{}: {told}", head.lines().next().unwrap_or_default());
        Ok(if ran {
            (Verdict::Hole, text)
        } else if is_denied(&new, self.reason) {
            (Verdict::Blocked, text)
        } else {
            (
                Verdict::Unshown,
                format!("{text}\nrecorded: [{}], wanted {}", shown(&new), self.reason),
            )
        })
    }
}
