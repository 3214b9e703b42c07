//! The attacks on policies: what an argument, a variable, a path or a program's own options could do.

use anyhow::Result;
use serde_json::Value;

use super::Verdict;
use super::daemon::Daemon;
use super::play::{BEGAN, PWNED};
use crate::actor::Said;

/// How an attack by `ganger exec` shows in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// A denial for this reason, and no other.
    Denied(&'static str),
    /// An intent with its outcome, and it has begun.
    Outcome,
    /// The same of a program that does not say that it begins: it has ended by itself.
    Ran,
    /// Refused before there was a request.
    Nothing,
}

/// One attack on a policy. It succeeds where a line `PWNED` is said.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) id: &'static str,
    pub(super) what: String,
    /// What `ganger` is given.
    verb: Vec<String>,
    /// The same without ganger.
    control: Vec<String>,
    recorded: Recorded,
}

fn policy(
    id: &'static str,
    what: &str,
    verb: &[&str],
    control: &[&str],
    recorded: Recorded,
) -> Policy {
    let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
    Policy { id, what: what.to_owned(), verb: words(verb), control: words(control), recorded }
}

use Recorded::{Denied, Nothing, Outcome, Ran};

/// An option that is not in the table.
const OPTION: Recorded = Denied("option");

/// All of them.
pub(super) fn policies() -> Vec<Policy> {
    let groups = [programs(), options(), inputs(), variables(), paths()];
    groups.into_iter().flatten().collect()
}

#[rustfmt::skip]
fn programs() -> Vec<Policy> {
    vec![
        policy("A01", "a program without a policy", &["exec", "no-such", "--", "say"], &["{self}", "say"], Denied("not_allowed")),
        policy("A02", "a program from the caller's PATH",
            &["exec", "git", "--env", "PATH={ro}/evil:/usr/bin", "--", "log"],
            &["env", "PATH={ro}/evil:/usr/bin:/bin", "git", "log"], Denied("env_danger")),
        policy("A03", "a program by a path with ..",
            &["policy", "explain", "--", "/usr/bin/../bin/sh", "-c", "echo PWNED"],
            &["/usr/bin/../bin/sh", "-c", "echo PWNED"], Nothing),
        policy("A16", "a name with a Cyrillic letter", &["exec", "s\u{430}y", "--", "say"], &["{self}", "say"], Denied("not_allowed")),
        policy("A16n", "a name with a newline", &["exec", "say\n", "--", "say"], &["{self}", "say"], Denied("not_allowed")),
        policy("J01", "somebody else's policy", &["exec", "theirs", "--", "say"], &["{self}", "say"], Denied("not_yours")),
    ]
}

/// What ssh's proxy says is not always heard; what it leaves behind is.
const SSH: &[&str] = &[
    "sh",
    "-c",
    "ssh -F /dev/null -oBatchMode=yes '-oProxyCommand=touch {rw}/ssh' x; test -e {rw}/ssh && rm {rw}/ssh && echo PWNED",
];

#[rustfmt::skip]
fn options() -> Vec<Policy> {
    let tar = |id, what: &str, option: &str| policy(id, what,
        &["exec", "tar", "--", "-c", "-f", "-", "--checkpoint=1", option, "{ro}"],
        &["tar", "-c", "-f", "/dev/null", "--checkpoint=1", option, "{ro}"], OPTION);
    let git = |id, what: &str, args: &[&str], why| policy(id, what,
        &[&["exec", "git", "--"], args].concat(), &[&["git"], args].concat(), Denied(why));
    vec![
        policy("B01", "find -exec",
            &["exec", "find", "--", "{ro}", "-exec", "echo", "PWNED", ";"], &["find", "{ro}", "-exec", "echo", "PWNED", ";"], OPTION),
        policy("B01d", "find -execdir",
            &["exec", "find", "--", "{ro}", "-execdir", "echo", "PWNED", ";"], &["find", "{ro}", "-execdir", "echo", "PWNED", ";"], OPTION),
        policy("B01p", "find -fprintf",
            &["exec", "find", "--", "{ro}", "-fprintf", "/dev/stdout", "PWNED\n"], &["find", "{ro}", "-fprintf", "/dev/stdout", "PWNED\\n"], OPTION),
        tar("B03", "tar --checkpoint-action", "--checkpoint-action=exec=echo PWNED"),
        tar("B04", "the same, abbreviated", "--checkpoint-act=exec=echo PWNED"),
        policy("B03c", "tar --to-command",
            &["exec", "untar", "--", "-x", "-P", "-f", "{ro}/evil.tar", "--to-command=echo PWNED"],
            &["tar", "-x", "-P", "-f", "{ro}/evil.tar", "--to-command=echo PWNED"], OPTION),
        policy("B03i", "tar -I",
            &["exec", "tar", "--", "-c", "-f", "-", "-I", "sh -c 'echo; echo PWNED'", "{ro}"],
            &["tar", "-c", "-f", "-", "-I", "sh -c 'echo; echo PWNED'", "{ro}"], OPTION),
        tar("B03u", "tar --use-compress-program", "--use-compress-program=sh -c 'echo >&2; echo >&2 PWNED'"),
        git("B06", "git -c alias", &["-c", "alias.x=!echo PWNED", "x"], "subcommand"),
        git("B06p", "git -c core.pager", &["-c", "alias.y=!echo PWNED;:", "y"], "subcommand"),
        git("B06u", "git ls-remote --upload-pack", &["ls-remote", "--upload-pack=echo >&2; echo >&2 PWNED;:", "{ro}"], "subcommand"),
        git("B06e", "git ext::", &["-c", "protocol.ext.allow=always", "ls-remote", "ext::sh -c echo% PWNED% >&2"], "subcommand"),
        policy("B08", "awk runs a command", &["exec", "awk", "--", "BEGIN{system(\"echo PWNED\")}"],
            &["awk", "BEGIN{system(\"echo PWNED\")}"], Ran),
        policy("B08p", "awk prints into a pipe", &["exec", "awk", "--", "BEGIN{print \"echo PWNED\" | \"sh\"}"],
            &["awk", "BEGIN{print \"echo PWNED\" | \"sh\"}"], Ran),
        policy("B08r", "awk reads a secret", &["exec", "awk", "--", "BEGIN{while((getline l < \"{secret}\")>0) print l}"],
            &["awk", "BEGIN{while((getline l < \"{secret}\")>0) print l}"], Ran),
        policy("B09", "a program behind env", &["exec", "env", "--", "{self}", "say"], &["env", "{self}", "say"], Ran),
        policy("B09u", "an upload behind env", &["exec", "env", "--", "{self}", "upload", "/tmp"], &["env", "{self}", "upload", "/tmp"], Ran),
        policy("B11", "ssh -oProxyCommand", &["exec", "ssh", "--", "-oProxyCommand=echo >&2 PWNED; sleep 1", "x"],
            SSH, OPTION),
        policy("B11h", "an option where the host belongs", &["exec", "ssh", "--", "--", "-oProxyCommand=echo >&2 PWNED; sleep 1"],
            SSH, Denied("value")),
        policy("B12", "rsync -e", &["exec", "rsync", "--", "-e", "sh -c 'echo >&2 PWNED'", "{ro}", "{rw}"],
            &["rsync", "-e", "sh -c 'echo >&2 PWNED'", "x:/", "{rw}"], OPTION),
        policy("B13", "sed runs a command", &["exec", "sed", "--", "-n", "1e echo PWNED", "{ro}/plain"],
            &["sed", "-n", "1e echo PWNED", "{ro}/plain"], Ran),
        policy("B13s", "sed s///e", &["exec", "sed", "--", "-n", "s/.*/echo PWNED/ep", "{ro}/plain"],
            &["sed", "-n", "s/.*/echo PWNED/ep", "{ro}/plain"], Ran),
        policy("B13r", "sed reads a secret", &["exec", "sed", "--", "-n", "r {secret}", "{ro}/plain"],
            &["sed", "-n", "r {secret}", "{ro}/plain"], Ran),
        policy("B14", "sort --files0-from", &["exec", "sort", "--", "--files0-from={ro}/list"], &["sort", "--files0-from={ro}/list"], OPTION),
        policy("B14c", "sort --compress-program", &["exec", "sort", "--", "--compress-program=sh", "-o", "{rw}/s", "{ro}/word"],
            &["sort", "--compress-program=sh", "{ro}/word"], OPTION),
        policy("B15", "less and LESSOPEN", &["exec", "less", "--env", "LESSOPEN=|{ro}/evil/git %s", "--", "{ro}/plain"],
            &["script", "-qec", "env 'LESSOPEN=|{ro}/evil/git %s' TERM=dumb less -F {ro}/plain", "/dev/null"], Denied("env_danger")),
        policy("B16", "curl -K", &["exec", "curl", "--", "-s", "-K", "{ro}/curlrc"], &["curl", "-s", "-K", "{ro}/curlrc"], OPTION),
        policy("B16f", "curl file://", &["exec", "curl", "--", "-s", "file://{secret}"], &["curl", "-s", "file://{secret}"], Denied("value")),
        policy("B16o", "curl -o", &["exec", "curl", "--", "-s", "-o", "{rw}/out", "https://x/"],
            &["sh", "-c", "curl -s -o {rw}/out file://{secret}; cat {rw}/out; rm {rw}/out"], OPTION),
        policy("B16t", "curl -T", &["exec", "curl", "--", "-s", "-T", "{ro}/word", "https://x/"],
            &["sh", "-c", "curl -s -T {ro}/word file://{rw}/out; cat {rw}/out; rm {rw}/out"], OPTION),
        policy("B16s", "the same under a wide policy", &["exec", "anywhere", "--", "-s", "file://{secret}"],
            &["curl", "-s", "file://{secret}"], Ran),
        policy("B19p", "a path with @ before it", &["exec", "cat", "--", "@{secret}"], &["{self}", "at-file", "@{secret}"], Denied("path")),
        policy("B20n", "5,000 arguments", &[&["exec", "echo", "--", "echo"][..], &["x"; 5_000]].concat(),
            &[&["{self}", "say"][..], &["x"; 5_000]].concat(), Denied("request")),
        policy("B20", "an argument of 100,000 bytes", &["exec", "echo", "--", "echo", "{long}"], &["{self}", "say", "{long}"], Denied("arg_limit")),
    ]
}

#[rustfmt::skip]
fn inputs() -> Vec<Policy> {
    let shell = |id, text: &str| policy(id, "a shell's characters", &["exec", "echo", "--", "echo", text],
        &["sh", "-c", &format!("echo {text}")], Outcome);
    vec![
        shell("C01", "x; echo PWNED"),
        shell("C01a", "x && echo PWNED"),
        shell("C01o", "x | echo PWNED"),
        shell("C01b", "x & echo PWNED"),
        shell("C01d", "$(printf '\\nPWNED\\n' >&2)"),
        shell("C01t", "`printf '\\nPWNED\\n' >&2`"),
        shell("C01e", "x; false || echo PWNED"),
        policy("C01n", "a line behind the argument", &["exec", "echo", "--", "echo", "x\necho PWNED"],
            &["sh", "-c", "echo x\necho PWNED"], Denied("value")),
        shell("C01r", "> /dev/null; cat < {ro}/word"),
        policy("C04", "an option for an operand", &["exec", "cat", "--", "-u", "{ro}/word"], &["cat", "-u", "{ro}/word"], OPTION),
        policy("C06", "JSON with a key twice", &["policy", "test", "--request", "{ro}/twice.json"], &["{self}", "say"], Nothing),
        policy("C10", "a pattern for files", &["exec", "read", "--", "read", "{ro}/wor*"], &["sh", "-c", "{self} read {ro}/wor*"], Outcome),
        policy("C10b", "braces", &["exec", "read", "--", "read", "{ro}/{word,x}"],
            &["bash", "-c", "for f in {ro}/{word,x}; do {self} read $f; done"], Outcome),
        policy("C10t", "a tilde", &["exec", "read", "--", "read", "~/.curlrc"], &["sh", "-c", "{self} read ~/.curlrc"], Outcome),
        policy("C10v", "a variable", &["exec", "read", "--", "read", "$HOME/.curlrc"], &["sh", "-c", "{self} read $HOME/.curlrc"], Outcome),
    ]
}

/// Variables that make programs load code or run something before they do anything, or lead them elsewhere.
const VARIABLES: [(&str, &[&str]); 5] = [
    ("D01", &["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES"]),
    ("D02", &["PATH"]),
    ("D03", &["IFS", "BASH_ENV", "ENV", "SHELLOPTS", "PS4", "BASH_FUNC_x%%"]),
    (
        "D04",
        &[
            "NODE_OPTIONS",
            "PYTHONSTARTUP",
            "PYTHONPATH",
            "PYTHONINSPECT",
            "PERL5OPT",
            "PERL5LIB",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "DOTNET_STARTUP_HOOKS",
        ],
    ),
    ("D10", &["TMPDIR", "LOCALDOMAIN", "HOSTALIASES", "RES_OPTIONS", "HOME", "GIT_SSH_COMMAND"]),
];

#[rustfmt::skip]
fn variables() -> Vec<Policy> {
    let named = VARIABLES.iter().flat_map(|(id, names)| names.iter().map(move |name| (*id, *name)));
    let mut all: Vec<Policy> = named.map(|(id, name)| {
        let set = format!("{name}=.:");
        policy(id, name, &["exec", "variable", "--env", &set, "--", "variable", name],
            &["env", &set, "{self}", "variable", name], Denied("env_danger"))
    }).collect();
    all.push(policy("D06", "variables of the daemon", &["exec", "variable", "--", "variable", "DATABASE_URL"],
        &["{self}", "variable", "DATABASE_URL"], Outcome));
    all.push(policy("D08c", "a variable twice", &["exec", "say", "--env", "X=1", "--env", "X=2", "--", "say"],
        &["env", "X=1", "X=2", "{self}", "say"], Nothing));
    all
}

#[rustfmt::skip]
fn paths() -> Vec<Policy> {
    let cat = |id, what: &str, path: &str, why| policy(id, what, &["exec", "cat", "--", path], &["cat", path], Denied(why));
    vec![
        cat("E01", "a path upwards", "{ro}/../secret", "path"),
        cat("E01a", "a path elsewhere", "{secret}", "path"),
        cat("E01p", "a path by /proc", "/proc/self/root{secret}", "path"),
        cat("E02", "a link that leads out", "{ro}/link", "path"),
        cat("E13", "a name with a newline", "{ro}/two\nlines", "value"),
        policy("E13l", "a path of more than 4,096 bytes", &["exec", "cat", "--", "{ro}/{deep}/word"], &["cat", "{ro}/word"], Denied("path")),
        policy("E05w", "a working folder upwards", &["exec", "cat", "--cwd", "..", "--", "{ro}/plain"], &["sh", "-c", "cd {ro}/..; cat secret"], Denied("cwd")),
        policy("E05l", "a working folder by a link", &["exec", "cat", "--cwd", "{ro}/away", "--", "{ro}/plain"], &["sh", "-c", "cd {ro}/away; cat secret"], Denied("cwd")),
        policy("E05m", "a working folder that is gone", &["exec", "say", "--cwd", "{ro}/gone", "--", "say"], &["{self}", "say"], Denied("cwd")),
        policy("E07", "a secret of the machine", &["exec", "read", "--", "read", "{secret}"], &["{self}", "read", "{secret}"], Outcome),
    ]
}

impl Policy {
    /// Plays it without ganger, which must succeed, and against the daemon.
    pub(super) fn play(&self, daemon: &Daemon<'_>) -> Result<(Verdict, String)> {
        let control: Vec<&str> = self.control.iter().map(String::as_str).collect();
        let control = match daemon.run(&control, "control") {
            Ok(said) => said,
            // A program that is not installed.
            Err(error) => return Ok((Verdict::Void, format!("{error:#}"))),
        };
        if !control.has_line(PWNED) {
            return Ok((Verdict::Void, control.text));
        }
        daemon.fresh()?;
        let verb: Vec<&str> = self.verb.iter().map(String::as_str).collect();
        let said = daemon.verb(&verb)?;
        if said.has_line(PWNED) {
            return Ok((Verdict::Hole, said.text));
        }
        let new = daemon.fresh()?;
        if self.recorded.agrees(&said, &new) && !said.hung {
            return Ok((Verdict::Blocked, said.text));
        }
        let by = format!(
            "{}\nexit {:?}, recorded: [{}], wanted {:?}",
            said.text,
            said.code,
            shown(&new),
            self.recorded
        );
        Ok((Verdict::Unshown, by))
    }
}

impl Recorded {
    fn agrees(self, said: &Said, new: &[Value]) -> bool {
        let of = |event: &str| new.iter().find(|record| record["event"] == event);
        match self {
            Nothing => new.is_empty() && said.code == Some(6),
            Denied(why) => is_denied(new, why) && said.code == Some(6),
            // What is allowed must have run: a sandbox in which nothing starts blocks everything.
            Outcome => said.has_line(BEGAN) && of("intent").is_some() && of("outcome").is_some(),
            Ran => of("outcome").is_some_and(|outcome| {
                let end = &outcome["body"]["end"];
                end["how"] == "exited"
                    && of("intent").is_some()
                    && outcome["body"]["enforced"] != Value::Null
            }),
        }
    }
}

/// One denial, for this reason, with what the caller wrote.
pub(super) fn is_denied(new: &[Value], why: &str) -> bool {
    // Attempts raise incidents; those are stories of their own.
    let mut new = new.iter().filter(|record| record["event"] != "incident");
    let (Some(record), None) = (new.next(), new.next()) else { return false };
    let body = &record["body"];
    record["event"] == "denied"
        && body["reason"] == why
        && body["message"].as_str().is_some_and(|message| !message.is_empty())
        && record["principal"]["uid"].is_u64()
}

/// Records in a line.
pub(super) fn shown(new: &[Value]) -> String {
    let event = |record: &Value| {
        format!("{} {} {}", record["event"], record["body"]["reason"], record["body"]["end"])
    };
    new.iter().map(event).collect::<Vec<_>>().join(", ")
}
