//! The attacks on the walls: one program of ours, `attack.c`, does each of them; as it is, and then by `ganger run --sandbox`.

/// Who must attack so that it succeeds without walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Anybody.
    Any,
    /// Root.
    Root,
    /// Anybody but root.
    User,
    /// A terminal, which `script` makes.
    Terminal,
}

/// How success shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oracle {
    /// It says so.
    Said,
    /// Something of it lives on.
    Survives,
}

/// One attack on the walls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wall {
    /// As the case is called in the list of attacks, a letter behind it where one has several parts.
    pub(super) id: &'static str,
    /// In words.
    pub(super) what: &'static str,
    /// Arguments of the attack; `{…}` are the stage's.
    pub(super) attack: &'static [&'static str],
    /// Further options of `ganger run`.
    pub(super) options: &'static [&'static str],
    pub(super) needs: Needs,
    pub(super) oracle: Oracle,
}

const fn wall(id: &'static str, what: &'static str, attack: &'static [&'static str]) -> Wall {
    Wall { id, what, attack, options: &[], needs: Needs::Any, oracle: Oracle::Said }
}

impl Wall {
    const fn root(self) -> Self {
        Self { needs: Needs::Root, ..self }
    }

    const fn options(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }
}

/// Root's part of the case takes more rights to succeed than a user has.
pub(super) const WALLS: &[Wall] = &[
    wall("A12", "loader runs an upload", &["upload", "/tmp", "/lib64/ld-linux-x86-64.so.2"]),
    wall("A13", "program from a memfd", &["memfd"]),
    wall("A14", "upload in /tmp is run", &["upload", "/tmp"]),
    wall("A14w", "upload in the work folder is run", &["upload", "{rw}"]),
    wall("D07", "environment of other processes", &["environ", "{victim}"]),
    wall("E02", "link in the work folder to a secret", &["read", "{rw}/link"]),
    wall("E06", "mount over a path in a user namespace", &["cover", "{rw}/m"]),
    wall("E07", "a secret of the machine", &["read", "{secret}"]),
    wall("E07s", "/etc/shadow", &["read", "/etc/shadow"]).root(),
    wall("E07k", "memory of the kernel", &["read", "/proc/kcore"]).root(),
    wall("E08", "a file in /usr", &["create", "/usr"]).root(),
    wall("E08r", "a file in a folder it may read", &["create", "{ro}"]),
    wall("E10", "core_pattern", &["open-w", "/proc/sys/kernel/core_pattern"]).root(),
    wall("E10s", "sysrq-trigger", &["open-w", "/proc/sysrq-trigger"]).root(),
    wall("F01", "descriptors of others", &["fds"]),
    Wall { needs: Needs::Terminal, ..wall("F02", "typing into the terminal", &["tiocsti"]) },
    wall("F04", "signal to another process", &["kill", "{victim}"]),
    Wall { oracle: Oracle::Survives, ..wall("F05", "a daemon outlives it", &["daemonise"]) },
    wall("F07", "ptrace of another process", &["ptrace", "{victim}"]),
    wall("F07m", "memory of another process", &["peek", "{victim}", "{victim_at}"]),
    wall("F07d", "descriptors of another process", &["getfd", "{victim}"]),
    wall("F08", "core dumps", &["core"]),
    wall("F12", "better priority", &["nice"]).root(),
    wall("F12r", "real-time scheduling", &["fifo"]).root(),
    wall("F12o", "spared when memory is short", &["oom"]).root(),
    Wall { needs: Needs::User, ..wall("G01", "a setuid program", &["setuid", "{setuid}"]) },
    wall("G02", "a user namespace", &["userns"]),
    wall("G02c", "a user namespace by clone3", &["clone3"]),
    wall("G03", "a namespace of the machine", &["setns", "{victim}"]).root(),
    wall("G04", "another root", &["chroot"]).root(),
    wall("G05", "mount", &["mount", "{rw}/m"]).root(),
    wall("G05f", "fsopen", &["fsopen"]).root(),
    wall("G05t", "open_tree", &["open-tree"]).root(),
    wall("G06", "io_uring", &["io-uring"]),
    wall("G08", "userfaultfd", &["userfaultfd"]),
    wall("G08k", "add_key", &["add-key"]),
    wall("G08p", "perf_event_open", &["perf"]),
    wall("G08b", "bpf", &["bpf"]).root(),
    wall("G08h", "open_by_handle_at", &["by-handle", "{secret}"]).root(),
    wall("G10", "no random addresses", &["personality"]),
    wall("G11", "a device node", &["mknod", "{rw}"]).root(),
    wall("G11m", "/dev/mem", &["read", "/dev/mem"]).root(),
    wall("G11t", "/dev/net/tun", &["open-w", "/dev/net/tun"]).root(),
    wall("G13", "a filter with a listener of its own", &["filter"]),
    wall("G14", "setgroups", &["setgroups"]).root(),
    wall("N01", "TCP", &["tcp", "{tcp}"]),
    wall("N02", "UDP", &["udp", "{udp}"]),
    wall("N03", "an abstract socket", &["unix", "{abstract}"]),
    wall("N04", "a socket in a folder", &["unix", "{sock}"]),
    wall("N05", "AF_NETLINK", &["socket", "16", "3"]),
    wall("N05p", "AF_PACKET", &["socket", "17", "3"]).root(),
    wall("N05v", "AF_VSOCK", &["socket", "40", "1"]),
    wall("N05a", "AF_ALG", &["socket", "38", "5"]),
    wall("N11", "shared memory of others", &["shm", "{shm}"]),
    wall("R01", "200 processes where 32 may be", &["bomb", "200"]).options(&["--pids", "32"]),
    wall("R02", "256 MiB where 64 may be", &["memory", "256"]).options(&["--memory", "64M"]),
    wall("R02s", "the same, shared", &["memory", "256", "shared"]).options(&["--memory", "64M"]),
    wall("R05", "ignores SIGTERM at the end of its time", &["outlive", "3"])
        .options(&["--timeout", "1s"]),
    wall("R09", "64 MiB where 8 may be", &["fill", "/tmp", "64"]).options(&["--disk", "8M"]),
    wall("R09i", "30,000 files", &["files", "/tmp", "30000"]).options(&["--disk", "8M"]),
];

/// How an attack by `ganger exec` shows in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// A denial.
    Denied,
    /// An intent with its outcome.
    Outcome,
    /// The same, with the limit that ended it.
    Breach,
    /// Refused before there was a request.
    Nothing,
}

/// One attack on a policy. It succeeds where a line `PWNED` is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    /// What `ganger` is given.
    pub(super) verb: &'static [&'static str],
    /// The same without ganger.
    pub(super) control: &'static [&'static str],
    pub(super) recorded: Recorded,
}

const fn policy(
    id: &'static str,
    what: &'static str,
    verb: &'static [&'static str],
    control: &'static [&'static str],
    recorded: Recorded,
) -> Policy {
    Policy { id, what, verb, control, recorded }
}

/// What the policies are; `{…}` are the stage's.
pub(super) const CONFIG: &str = r#"
version = 1
[policy.find]
program = "{find}"
order = "args-first"
args = [{ path = "read", beneath = "{ro}" }]
options = { "-name" = { regex = "[a-z.]+", forms = ["separate"] } }
[policy.tar]
program = "{tar}"
options = { "-c" = "flag", "-f" = { one_of = ["-"] } }
args = [{ path = "read", beneath = "{ro}" }]
[policy.git]
program = "{git}"
subcommand = ["log"]
options = { "--oneline" = "flag" }
[policy.sort]
program = "{sort}"
args = [{ path = "read", beneath = "{ro}" }]
[policy.cat]
program = "{cat}"
args = [{ path = "read", beneath = "{ro}" }]
[policy.echo]
program = "{self}"
dashes = false
subcommand = ["echo"]
args = [{ regex = "[ -~]*", max = 65536, optional = true, repeat = 8 }]
[policy.variable]
program = "{self}"
dashes = false
subcommand = ["variable"]
args = [{ regex = "[A-Z_]+" }]
[policy.read]
program = "{self}"
dashes = false
subcommand = ["read"]
args = [{ regex = ".*" }]
[policy.outlive]
program = "{self}"
dashes = false
subcommand = ["outlive"]
args = ["3"]
limits = { time = "1s" }
[policy.login]
program = "{self}"
dashes = false
subcommand = ["variable"]
options = { "--token" = { secret = true }, "-t" = { secret = true }, "-v" = "flag" }
[policy.seldom]
program = "{self}"
dashes = false
subcommand = ["say"]
rate = "1/h"
[policy.theirs]
program = "{self}"
dashes = false
subcommand = ["say"]
who = { uids = [4242] }
"#;

const ALLOWED: Recorded = Recorded::Outcome;
const DENIED: Recorded = Recorded::Denied;

pub(super) const POLICIES: &[Policy] = &[
    policy("A01", "a program without a policy", &["exec", "say"], &["{self}", "say"], DENIED),
    policy(
        "B01",
        "find -exec",
        &["exec", "find", "--", "{ro}", "-exec", "echo", "PWNED", ";"],
        &["find", "{ro}", "-exec", "echo", "PWNED", ";"],
        DENIED,
    ),
    policy(
        "B03",
        "tar --checkpoint-action",
        &[
            "exec",
            "tar",
            "--",
            "-c",
            "-f",
            "-",
            "--checkpoint=1",
            "--checkpoint-action=exec=echo PWNED",
            "{ro}",
        ],
        &[
            "tar",
            "-c",
            "-f",
            "/dev/null",
            "--checkpoint=1",
            "--checkpoint-action=exec=echo PWNED",
            "{ro}",
        ],
        DENIED,
    ),
    policy(
        "B04",
        "the same, abbreviated",
        &[
            "exec",
            "tar",
            "--",
            "-c",
            "-f",
            "-",
            "--checkpoint=1",
            "--checkpoint-act=exec=echo PWNED",
            "{ro}",
        ],
        &[
            "tar",
            "-c",
            "-f",
            "/dev/null",
            "--checkpoint=1",
            "--checkpoint-act=exec=echo PWNED",
            "{ro}",
        ],
        DENIED,
    ),
    policy(
        "B06",
        "git -c alias",
        &["exec", "git", "--", "-c", "alias.x=!echo PWNED", "x"],
        &["git", "-c", "alias.x=!echo PWNED", "x"],
        DENIED,
    ),
    policy(
        "B14",
        "sort --files0-from",
        &["exec", "sort", "--", "--files0-from={ro}/list"],
        &["sort", "--files0-from={ro}/list"],
        DENIED,
    ),
    policy(
        "B20",
        "an argument of 100,000 bytes",
        &["exec", "echo", "--", "echo", "{long}"],
        &["{self}", "say", "{long}"],
        DENIED,
    ),
    policy(
        "C01",
        "a shell's separators",
        &["exec", "echo", "--", "echo", "x; echo PWNED"],
        &["sh", "-c", "echo x; echo PWNED"],
        ALLOWED,
    ),
    policy(
        "C04",
        "an option for an operand",
        &["exec", "cat", "--", "-u", "{ro}/word"],
        &["cat", "-u", "{ro}/word"],
        DENIED,
    ),
    policy(
        "C06",
        "JSON with a key twice",
        &["policy", "test", "--request", "{ro}/twice.json"],
        &["{self}", "say"],
        Recorded::Nothing,
    ),
    policy(
        "C08",
        "a forged line of the log",
        &["exec", "find", "--", "{ro}\n{\"event\":\"allowed\"}"],
        &["{self}", "say"],
        DENIED,
    ),
    policy(
        "D01",
        "LD_PRELOAD",
        &["exec", "variable", "--env", "LD_PRELOAD=/x", "--", "variable", "LD_PRELOAD"],
        &["env", "LD_PRELOAD=", "{self}", "variable", "LD_PRELOAD"],
        DENIED,
    ),
    policy(
        "D04",
        "NODE_OPTIONS",
        &["exec", "variable", "--env", "NODE_OPTIONS=-r/x", "--", "variable", "NODE_OPTIONS"],
        &["env", "NODE_OPTIONS=-r/x", "{self}", "variable", "NODE_OPTIONS"],
        DENIED,
    ),
    policy(
        "D06",
        "variables of the daemon",
        &["exec", "variable", "--", "variable", "DATABASE_URL"],
        &["{self}", "variable", "DATABASE_URL"],
        ALLOWED,
    ),
    policy(
        "E01",
        "a path upwards",
        &["exec", "cat", "--", "{ro}/../secret"],
        &["cat", "{ro}/../secret"],
        DENIED,
    ),
    policy(
        "E02",
        "a link that leads out",
        &["exec", "cat", "--", "{ro}/link"],
        &["cat", "{ro}/link"],
        DENIED,
    ),
    policy(
        "E07",
        "a secret of the machine",
        &["exec", "read", "--", "read", "{secret}"],
        &["{self}", "read", "{secret}"],
        ALLOWED,
    ),
    policy(
        "J01",
        "somebody else's policy",
        &["exec", "theirs", "--", "say"],
        &["{self}", "say"],
        DENIED,
    ),
    policy(
        "R05",
        "ignores SIGTERM at the end of its time",
        &["exec", "outlive", "--", "outlive", "3"],
        &["{self}", "outlive", "3"],
        Recorded::Breach,
    ),
];
