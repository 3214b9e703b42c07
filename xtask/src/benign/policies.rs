//! Commands under policies, as somebody would write them.

/// Policies, an empty line between two; one whose program is not installed is left out. `{…}` are the stage's.
pub(super) const CONFIG: &str = r#"version = 1

[policy.lines]
program = "{/wc}"
options = { "-l" = "flag", "-w" = "flag" }
args = [{ path = "read", beneath = "{ro}" }]

[policy.search]
program = "{/grep}"
options = { "-n" = "flag", "-i" = "flag", "-c" = "flag" }
args = [{ regex = "[a-z. ]+", max = 40 }, { path = "read", beneath = "{ro}", repeat = 9 }]
examples = { allow = [["-n", "fig", "{ro}/words.txt"]], deny = [["-f", "{ro}/words.txt"], ["--", "-f"]] }

[policy.sorted]
program = "{/sort}"
options = { "-n" = "flag", "-r" = "flag", "-u" = "flag", "-k" = { int = "1..9" } }
args = [{ path = "read", beneath = "{ro}" }]
limits = { time = "30s", memory = "256M", output = "16M" }

[policy.digest]
program = "{/sha256sum}"
args = [{ path = "read", beneath = "{ro}", repeat = 4 }]

[policy.encode]
program = "{/base64}"
options = { "-d" = "flag", "-w" = { int = "0..76" } }
stdin = { bytes = "64K" }

[policy.query]
program = "{/jq}"
dashes = false
options = { "-r" = "flag", "-c" = "flag" }
args = [{ one_of = [".name", ".list", ".list | add"] }, { path = "read", beneath = "{ro}" }]

[policy.database]
program = "{/sqlite3}"
accept = ["read", "write", "shell", "load", "command"]
options = { "-readonly" = "flag", "-csv" = "flag" }
args = [":memory:", { one_of = ["select 40 + 2", "select sqlite_version()"] }]
dashes = false

[policy.history]
program = "{/git}"
cwd = { beneath = "{ro}" }
subcommand = ["log"]
options = { "--oneline" = "flag", "-n" = { int = "1..1000" } }
env = { set = { GIT_PAGER = "cat" } }

[policy.pack]
program = "{/tar}"
options = { "-c" = { required = true }, "-f" = { one_of = ["-"], required = true } }
cwd = "{ro}"
args = [{ one_of = ["c", "words.txt"] }]

[policy.calculate]
program = "{/bc}"
options = { "-q" = "flag", "-l" = "flag" }
stdin = { bytes = "4K" }
limits = { time = "20s", cpu_time = "5s" }

[policy.certificate]
program = "{/openssl}"
subcommand = ["dgst"]
options = { "-sha256" = "flag", "-sha512" = "flag" }
args = [{ path = "read", beneath = "{ro}" }]
dashes = false

[policy.when]
program = "{/date}"
options = { "-u" = "flag", "-d" = { regex = "@[0-9]+", forms = ["separate"] } }
args = [{ one_of = ["+%Y", "+%s"] }]
rate = "1000/s"

[policy.report]
program = "{ro}/tool.py"
interpreter = "/usr/bin/python3"
sandbox = "standard"

[policy.fetch]
program = "{/curl}"
sandbox = "standard"
accept = ["connect"]
options = { "-sS" = "flag" }
args = [{ one_of = ["http://127.0.0.1:{port}/"] }]

[policy.compile]
program = "{/gcc}"
dashes = false
sandbox = "build"
cwd = "{rw}"
options = { "-c" = "flag", "-O2" = "flag", "-Wall" = "flag", "-o" = { path = "write", beneath = "{rw}" } }
args = [{ path = "read", beneath = "{ro}/c", repeat = 9 }]
limits = { time = "60s", memory = "1G", pids = 64 }
"#;

/// One request under a policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) name: &'static str,
    /// That of its policy.
    pub(super) profile: &'static str,
    /// What `ganger` is given; the policy's name is the second.
    pub(super) verb: &'static [&'static str],
    pub(super) input: Option<&'static str>,
    pub(super) says: &'static str,
}

impl Asked {
    pub(super) fn policy(&self) -> &'static str {
        self.verb.get(1).copied().unwrap_or_default()
    }

    const fn input(self, input: &'static str) -> Self {
        Self { input: Some(input), ..self }
    }

    const fn by(self, profile: &'static str) -> Self {
        Self { profile, ..self }
    }
}

const fn asked(name: &'static str, verb: &'static [&'static str], says: &'static str) -> Asked {
    Asked { name, profile: "strict", verb, input: None, says }
}

#[rustfmt::skip]
pub(super) const ASKED: &[Asked] = &[
    asked("exec wc", &["exec", "lines", "--", "-l", "{ro}/words.txt"], "5 "),
    asked("exec grep", &["exec", "search", "--", "-n", "fig", "{ro}/words.txt", "{ro}/fruit.txt"], "words.txt:3:fig"),
    asked("exec sort", &["exec", "sorted", "--", "-n", "-r", "{ro}/numbers.txt"], "59999\n59998"),
    asked("exec sha256sum", &["exec", "digest", "--", "{ro}/words.txt", "{ro}/fruit.txt"], "bf9f8fc5"),
    asked("exec base64", &["exec", "encode", "--stdin", "-"], "YXBwbGUK").input("ro/fruit.txt"),
    asked("exec jq", &["exec", "query", "--", "-r", ".list | add", "{ro}/data.json"], "42"),
    asked("exec sqlite3", &["exec", "database", "--", ":memory:", "select 40 + 2"], "42"),
    asked("exec git log", &["exec", "history", "--cwd", "{ro}/repo", "--", "log", "--oneline", "-n", "5"], "first words"),
    asked("exec tar", &["exec", "pack", "--", "-c", "-f", "-", "words.txt"], "words.txt"),
    asked("exec bc", &["exec", "calculate", "--stdin", "-", "--", "-q"], "1180591620717411303424").input("ro/sum.bc"),
    asked("exec openssl", &["exec", "certificate", "--", "dgst", "-sha256", "{ro}/fruit.txt"], "bf9f8fc5"),
    asked("exec date", &["exec", "when", "--", "-u", "-d", "@0", "+%Y"], "1970"),
    asked("exec a script", &["exec", "report"], "['python', 'apple', '2']").by("standard"),
    asked("exec curl", &["exec", "fetch", "--", "-sS", "http://127.0.0.1:{port}/"], "from-server").by("standard"),
    asked("exec cc", &["exec", "compile", "--", "-c", "-O2", "-o", "{rw}/sum.o", "{ro}/c/sum.c"], "").by("build"),
];
