//! Policies that may not be had at all: what would let anything run, or trust what others can change, is refused when it is loaded.

use std::fs;

use anyhow::{Result, bail};

use super::Verdict;
use super::daemon::Daemon;
use super::play::PWNED;

/// One policy.
pub(super) struct Load {
    pub(super) id: &'static str,
    pub(super) what: String,
    /// The policy.
    bad: String,
    /// Words of the refusal.
    says: &'static str,
    /// The same without what is wrong with it, which loads.
    good: String,
    /// What could be done by it: says `PWNED`. Empty: nothing that could be shown here.
    control: Vec<String>,
}

/// All of them.
pub(super) fn loads() -> Vec<Load> {
    [files(), runners(), people()].into_iter().flatten().collect()
}

fn load(
    id: &'static str,
    what: &str,
    bad: &str,
    good: &str,
    says: &'static str,
    control: &[&str],
) -> Load {
    Load {
        id,
        what: what.to_owned(),
        bad: bad.to_owned(),
        says,
        good: good.to_owned(),
        control: control.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[rustfmt::skip]
fn files() -> Vec<Load> {
    let own = "program = \"{self}\"";
    let of = |id, what, path: &str, says| load(id, what, &format!("program = \"{path}\""), own, says, &[path, "say"]);
    vec![
        of("A09", "a program that its group may write", "{ro}/loose", "by others than root"),
        of("A09d", "a program in a folder that anybody may write", "{open}/attack", "by others than root"),
        of("A15", "a setuid program", "{ro}/setuid", "is setuid"),
        of("A15c", "a program with capabilities", "{ro}/able", "has capabilities"),
        load("A10", "a script without its interpreter", "program = \"{ro}/script\"",
            "program = \"{ro}/script\"\ninterpreter = \"/bin/sh\"", "together with its interpreter", &["{ro}/script"]),
        load("A10i", "a script with another interpreter", "program = \"{ro}/script\"\ninterpreter = \"{bin:cat}\"",
            "program = \"{ro}/script\"\ninterpreter = \"/bin/sh\"", "together with its interpreter", &["{ro}/script"]),
        load("A12l", "the loader as a program", "program = \"/lib64/ld-linux-x86-64.so.2\"", own, "loader",
            &["/lib64/ld-linux-x86-64.so.2", "{self}", "say"]),
        load("A03p", "a program by a path with ..", "program = \"/usr/bin/../bin/cat\"", "program = \"/usr/bin/cat\"", "absolute",
            &["/usr/bin/../bin/cat", "{ro}/word"]),
    ]
}

/// Programs that run what their arguments name.
#[rustfmt::skip]
const RUNNERS: [(&str, &str, &[&str]); 16] = [
    ("B08l", "awk", &["awk", "BEGIN{system(\"echo PWNED\")}"]),
    ("B09l", "env", &["env", "X=1", "{self}", "say"]),
    ("B09l", "nice", &["nice", "{self}", "say"]),
    ("B09l", "nohup", &["nohup", "{self}", "say"]),
    ("B09l", "timeout", &["timeout", "9", "{self}", "say"]),
    ("B09l", "stdbuf", &["stdbuf", "-o0", "{self}", "say"]),
    ("B09l", "setsid", &["setsid", "-w", "{self}", "say"]),
    ("B09l", "ionice", &["ionice", "{self}", "say"]),
    ("B09l", "chrt", &["chrt", "-o", "0", "{self}", "say"]),
    ("B10", "xargs", &["sh", "-c", "echo say | xargs {self}"]),
    ("B10", "parallel", &["sh", "-c", "echo say | parallel {self}"]),
    ("B13l", "sed", &["sed", "-n", "1e echo PWNED", "{ro}/plain"]),
    ("B09l", "sh", &["sh", "-c", "echo PWNED"]),
    ("B09l", "perl", &["perl", "-e", "print \"PWNED\\n\""]),
    ("B09l", "python3", &["python3", "-c", "print('PWNED')"]),
    ("B09l", "unshare", &["unshare", "{self}", "say"]),
];

fn runners() -> Vec<Load> {
    let one = |(id, name, control): (&'static str, &str, &[&str])| {
        let bad =
            format!("program = \"{{bin:{name}}}\"\nargs = [{{ regex = \".*\", repeat = 8 }}]");
        let good = format!("program = \"{{bin:{name}}}\"");
        load(
            id,
            &format!("{name} with arguments of the caller's choice"),
            &bad,
            &good,
            "accept",
            control,
        )
    };
    RUNNERS.into_iter().map(one).collect()
}

fn people() -> Vec<Load> {
    // Numbers that mean "as it is" to the kernel, and texts that some read as 0.
    let ids = [
        "-1",
        "4294967295",
        "4294967296",
        "65535",
        "\"-1\"",
        "\"0x0\"",
        "\" 0\"",
        "\"root \"",
        "0.0",
    ];
    let good = "program = \"{self}\"\nwho = { uids = [0] }";
    let one = |id: &&str| {
        let bad = format!("program = \"{{self}}\"\nwho = {{ uids = [{id}] }}");
        load("G15", &format!("{id} for a user"), &bad, good, "", &[])
    };
    ids.iter().map(one).collect()
}

impl Load {
    pub(super) fn play(&self, daemon: &Daemon<'_>) -> Result<(Verdict, String)> {
        /// "The config is wrong".
        const CONFIG: i32 = 3;
        /// "Not allowed".
        const DENIED: i32 = 6;
        let stage = daemon.stage();
        let control: Vec<&str> = self.control.iter().map(String::as_str).collect();
        if !control.is_empty() {
            match daemon.run(&control, "control") {
                Ok(said) if said.has_line(PWNED) => {}
                Ok(said) => return Ok((Verdict::Void, said.text)),
                Err(error) => return Ok((Verdict::Void, format!("{error:#}"))),
            }
        }
        let mut said = Vec::new();
        for policy in [&self.good, &self.bad] {
            let policy = match stage.filled(policy, None) {
                Ok(policy) => policy,
                Err(error) => return Ok((Verdict::Void, format!("{error:#}"))),
            };
            let file = daemon.path("load.toml").display().to_string();
            fs::write(&file, format!("version = 1\n[policy.x]\n{policy}\n"))?;
            said.push((
                daemon.verb(&["-f", &file, "policy", "list"])?,
                daemon.verb(&["-f", &file, "policy", "test", "x"])?,
            ));
        }
        let [(good, _), (bad, test)] = &said[..] else { bail!("two were asked for") };
        let named = bad.text.contains(self.says);
        // What is wrong with the file is found when it is pinned: then nothing of the policy may run, whatever is asked.
        let unsafe_file =
            named && test.code == Some(DENIED) && test.text.contains("program_unsafe");
        Ok(if good.code != Some(0) || (!self.says.is_empty() && good.text.contains(self.says)) {
            (Verdict::Void, format!("{}\nnor does it load without", good.text))
        } else if bad.code == Some(CONFIG) && named || unsafe_file {
            (
                Verdict::Blocked,
                bad.text
                    .lines()
                    .find(|line| line.contains(self.says))
                    .unwrap_or_default()
                    .to_owned(),
            )
        } else if bad.code == Some(0) && test.code != Some(DENIED) {
            (Verdict::Hole, bad.text.clone())
        } else {
            (Verdict::Unshown, format!("{}{}", bad.text, test.text))
        })
    }
}
