//! The attacks on the walls: one program of ours, `attack/`, does each of them; as it is, by `ganger run` without the layers that
//! hold it, by `ganger run` with all layers, and by `ganger exec`, which records it.

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
    /// The machine has a mount more.
    Mounted,
}

/// What holds it in `strict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Each of these layers alone: without all of them it succeeds, with any of them it does not.
    Layers(&'static [&'static str]),
    /// One of these layers, for root and for others.
    By { root: &'static [&'static str], user: &'static [&'static str] },
    /// The case's limit: under the same policy without it, it succeeds.
    Limit,
    /// Every sandbox, in a way that can't be left out.
    Always,
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
    /// `limits` of its policy.
    pub(super) limits: &'static str,
    /// The limit that its record must name; empty: the program hears of it and ends by itself.
    pub(super) breach: &'static str,
    pub(super) needs: Needs,
    pub(super) oracle: Oracle,
    pub(super) held: Held,
}

impl Wall {
    /// The layers that hold it, for this attacker.
    pub(super) fn layers(&self, root: bool) -> &'static [&'static str] {
        match self.held {
            Held::Layers(layers) => layers,
            Held::By { root: layers, .. } if root => layers,
            Held::By { user: layers, .. } => layers,
            Held::Limit | Held::Always => &[],
        }
    }

    /// What is left out so that none of them stands. Only root has other namespaces without a user namespace.
    pub(super) fn off(&self, root: bool) -> Vec<&'static str> {
        const NAMESPACES: [&str; 6] = ["mount", "pid", "net", "ipc", "uts", "cgroup"];
        let mut off = self.layers(root).to_vec();
        if !root && off.contains(&"user") {
            off.extend(NAMESPACES.iter().filter(|it| !self.layers(root).contains(it)));
        }
        off
    }

    /// The policy that it is played under.
    pub(super) fn policy(&self) -> String {
        match self.limits {
            "" => "wall".to_owned(),
            _ => format!("wall-{}", self.id.to_lowercase()),
        }
    }

    const fn root(self) -> Self {
        Self { needs: Needs::Root, ..self }
    }

    const fn user(self) -> Self {
        Self { needs: Needs::User, ..self }
    }

    const fn shows(self, oracle: Oracle) -> Self {
        Self { oracle, ..self }
    }

    const fn breach(self, breach: &'static str) -> Self {
        Self { breach, ..self }
    }
}

const fn wall(
    id: &'static str,
    what: &'static str,
    attack: &'static [&'static str],
    held: Held,
) -> Wall {
    let (needs, oracle) = (Needs::Any, Oracle::Said);
    Wall { id, what, attack, limits: "", breach: "", needs, oracle, held }
}

/// One that a limit holds.
const fn limit(
    id: &'static str,
    what: &'static str,
    attack: &'static [&'static str],
    limits: &'static str,
) -> Wall {
    Wall { limits, ..wall(id, what, attack, Held::Limit) }
}

use Held::{Always, By, Layers};

const MOUNT: Held = Layers(&["mount", "landlock"]);
const SECCOMP: Held = Layers(&["seccomp"]);
/// What takes a right that only root has.
const OWN: Held = Layers(&["user", "capabilities"]);
/// And a call that few programs make.
const CAPS: Held = Layers(&["user", "capabilities", "seccomp"]);
const TRACE: Held = By {
    root: &["user", "pid", "capabilities", "landlock", "seccomp"],
    user: &["user", "pid", "landlock", "seccomp"],
};

/// Root's part of the case takes more rights to succeed than a user has.
#[rustfmt::skip]
pub(super) const WALLS: &[Wall] = &[
    wall("A12", "loader runs an upload", &["upload", "/tmp", "/lib64/ld-linux-x86-64.so.2"], MOUNT),
    wall("A13", "program from a memfd", &["memfd"], SECCOMP),
    wall("A14", "upload in /tmp is run", &["upload", "/tmp"], MOUNT),
    wall("A14w", "upload in the work folder is run", &["upload", "{rw}"], MOUNT),
    wall("B19", "a secret by @file", &["at-file", "@{secret}"], MOUNT),
    wall("D07", "environment of other processes", &["environ", "{victim}"], By { root: &["user", "capabilities"], user: &["user", "mount", "landlock"] }),
    wall("D09", "settings in the home folder", &["home", ".curlrc"], MOUNT),
    wall("E02", "link in the work folder to a secret", &["read", "{rw}/link"], MOUNT),
    wall("E04", "a secret linked into the work folder", &["link", "{secret}", "{rw}/hard"], MOUNT),
    wall("E05", "a secret by a descriptor of the outside", &["leak", "secret", "{secret}"], MOUNT),
    wall("E06", "mount over a path in a user namespace", &["cover", "{rw}/m"], Layers(&["user", "landlock", "seccomp"])),
    wall("E07", "a secret of the machine", &["read", "{secret}"], MOUNT),
    wall("E07g", "the settings of ganger", &["read", "{home}/ganger.toml"], MOUNT),
    wall("E07a", "the key of the audit log", &["read", "{home}/.ganger/audit/audit.key"], MOUNT),
    wall("E07s", "/etc/shadow", &["read", "/etc/shadow"], MOUNT).root(),
    wall("E07k", "memory of the kernel", &["read", "/proc/kcore"], MOUNT).root(),
    wall("E08", "a file in /usr", &["create", "/usr"], MOUNT).root(),
    wall("E08r", "a file in a folder it may read", &["create", "{ro}"], MOUNT),
    wall("E10", "core_pattern", &["open-w", "/proc/sys/kernel/core_pattern"], MOUNT).root(),
    wall("E10s", "sysrq-trigger", &["open-w", "/proc/sysrq-trigger"], MOUNT).root(),
    wall("E14", "a mount that shows outside", &["propagate", "{rw}/m"], Layers(&["user", "capabilities", "mount", "landlock", "seccomp"])).root().shows(Oracle::Mounted),
    wall("F01", "descriptors of others", &["fds"], Always),
    Wall { needs: Needs::Terminal, ..wall("F02", "typing into the terminal", &["tiocsti"], Always) },
    wall("F04", "signal to another process", &["kill", "{victim}"], Layers(&["pid", "landlock"])),
    wall("F04t", "the same by tgkill, tkill and a pidfd", &["signal", "{victim}"], Layers(&["pid", "landlock"])),
    wall("F05", "a daemon outlives it", &["daemonise"], Always).shows(Oracle::Survives),
    wall("F07", "ptrace of another process", &["ptrace", "{victim}"], TRACE),
    wall("F07m", "memory of another process", &["peek", "{victim}", "{victim_at}"], TRACE),
    wall("F07d", "descriptors of another process", &["getfd", "{victim}"], TRACE),
    wall("F08", "core dumps", &["core"], Always),
    wall("F12", "better priority", &["nice"], OWN).root(),
    wall("F12r", "real-time scheduling", &["fifo"], CAPS).root(),
    wall("F12o", "spared when memory is short", &["oom"], MOUNT).root(),
    wall("F12i", "better priority of its files", &["call", "251", "1", "0", "8192"], OWN).root(),
    wall("F12m", "memory that is never paged out", &["mlockall"], SECCOMP).root(),
    wall("G01", "a setuid program", &["setuid", "{setuid}"], Layers(&["user", "no_new_privs", "mount", "landlock", "seccomp"])).user(),
    wall("G02", "a user namespace", &["userns"], Layers(&["user", "seccomp"])),
    wall("G02c", "a user namespace by clone3", &["clone3"], Layers(&["user", "seccomp"])),
    wall("G03", "a namespace of the machine", &["setns", "{victim}"], Layers(&["user", "capabilities", "landlock", "seccomp"])).root(),
    wall("G04", "another root", &["chroot"], CAPS).root(),
    wall("G05", "mount", &["mount", "{rw}/m"], Layers(&["user", "capabilities", "landlock", "seccomp"])).root(),
    wall("G05f", "fsopen", &["fsopen"], CAPS).root(),
    wall("G05m", "move_mount", &["call", "429", "4294967295"], CAPS).root(),
    wall("G05p", "pivot_root", &["call", "155", "0"], CAPS).root(),
    wall("G05u", "umount", &["call", "166", "0"], SECCOMP),
    wall("G05t", "open_tree", &["open-tree"], CAPS).root(),
    wall("G06", "io_uring", &["io-uring"], SECCOMP),
    wall("G08", "userfaultfd", &["userfaultfd"], SECCOMP),
    wall("G08k", "add_key", &["add-key"], SECCOMP),
    wall("G08y", "keyctl", &["call", "250", "0"], SECCOMP),
    wall("G08p", "perf_event_open", &["perf"], SECCOMP),
    wall("G08b", "bpf", &["bpf"], CAPS).root(),
    wall("G08m", "finit_module", &["call", "313", "4294967295"], SECCOMP).root(),
    wall("G08f", "fanotify", &["call", "300", "0"], CAPS).root(),
    wall("G08i", "init_module", &["call", "175", "0"], CAPS).root(),
    wall("G08l", "modify_ldt", &["call", "154", "0"], SECCOMP),
    wall("G08o", "ports of the machine", &["call", "172", "0"], SECCOMP),
    wall("G08r", "reboot", &["call", "169", "0"], CAPS).root(),
    wall("G08s", "swapon", &["call", "167", "0"], CAPS).root(),
    wall("G08t", "the clock", &["call", "164", "0"], CAPS).root(),
    wall("G08v", "move_pages", &["call", "279", "0"], SECCOMP),
    wall("G08x", "kexec_load", &["call", "246", "0"], CAPS).root(),
    wall("G08h", "open_by_handle_at", &["by-handle", "{ro}", "{ro}/word"], CAPS).root(),
    wall("G10", "no random addresses", &["personality"], SECCOMP),
    wall("G10x", "what is read can be executed", &["read-exec"], SECCOMP),
    wall("G11", "a device node", &["mknod", "{rw}"], Layers(&["user", "capabilities", "mount", "landlock", "seccomp"])).root(),
    wall("G11m", "/dev/mem", &["read", "/dev/mem"], MOUNT).root(),
    wall("G11t", "/dev/net/tun", &["open-w", "/dev/net/tun"], MOUNT).root(),
    wall("G13", "a filter with a listener of its own", &["filter"], SECCOMP),
    wall("G14", "setgroups", &["setgroups"], OWN).root(),
    wall("G16", "a call newer than the filter's list", &["call", "443", "4294967295"], SECCOMP),
    wall("J12", "the policies of ganger", &["open-w", "{home}/ganger.toml"], MOUNT),
    wall("N01", "TCP", &["tcp", "{tcp}"], Layers(&["net", "landlock", "seccomp"])),
    wall("N02", "UDP", &["udp", "{udp}"], Layers(&["net", "seccomp"])),
    wall("N02r", "raw packets", &["socket", "2", "3", "255"], CAPS).root(),
    wall("N02i", "ICMP", &["socket", "2", "3", "1"], CAPS).root(),
    wall("N03", "an abstract socket", &["unix", "{abstract}"], Layers(&["net", "landlock"])),
    wall("N04", "a socket in a folder", &["unix", "{sock}"], Layers(&["mount"])),
    wall("N05", "AF_NETLINK", &["socket", "16", "3"], SECCOMP),
    wall("N05p", "AF_PACKET", &["socket", "17", "3"], CAPS).root(),
    wall("N05v", "AF_VSOCK", &["socket", "40", "1"], SECCOMP),
    wall("N05a", "AF_ALG", &["socket", "38", "5"], SECCOMP),
    wall("N05x", "AF_XDP", &["socket", "44", "3"], CAPS).root(),
    wall("N11", "shared memory of others", &["shm", "{shm}"], Layers(&["ipc", "seccomp"])),
    wall("N11q", "a message queue of others", &["queue", "{queue}"], Layers(&["ipc", "landlock", "seccomp"])),
    wall("N11s", "a file in /dev/shm of others", &["read", "{shared}"], MOUNT),
    limit("R01", "200 processes where 32 may be", &["bomb", "200"], "pids = 32"),
    limit("R02", "256 MiB where 64 may be", &["memory", "256"], "memory = \"64M\"").breach("memory"),
    limit("R02s", "the same, shared", &["memory", "256", "shared"], "memory = \"64M\"").breach("memory"),
    limit("R02p", "the same, by eight processes", &["memory", "256", "parts"], "memory = \"64M\"").breach("memory"),
    limit("R04", "3 s of processor by 8 threads where 1 may be", &["spin", "7", "3"], "cpu_time = \"1s\"").breach("cpu_time"),
    limit("R05", "ignores SIGTERM at the end of its time", &["outlive", "2"], "time = \"500ms\"").breach("wall"),
    limit("R07", "16 MiB said where 1 may be", &["flood", "16"], "output = \"1M\"").breach("output"),
    limit("R08", "the same byte by byte", &["drip", "200000"], "output = \"64K\"").breach("output"),
    limit("R09", "32 MiB where 8 may be", &["fill", "/tmp", "32"], "disk = \"8M\""),
    limit("R09i", "10,000 files", &["files", "/tmp", "10000"], "disk = \"8M\""),
    limit("R10", "room for 32 MiB at once where 8 may be", &["allocate", "/tmp", "32"], "disk = \"8M\""),
    limit("R10f", "a file of 32 MiB, a hole of it, where 8 may be", &["allocate", "{rw}", "32", "hole"], "file_size = \"8M\"").breach("file_size"),
    limit("R11", "300 open files where 64 may be", &["many", "files", "300"], "files = 64"),
    limit("R11p", "300 pipes where 64 may be", &["many", "pipes", "150"], "files = 64"),
    limit("R12", "160 MiB in sockets that nobody reads where 64 may be", &["unread", "160"], "memory = \"64M\"").root().breach("memory"),
    limit("R14", "256 MiB of stack where 64 may be", &["recurse", "256"], "memory = \"64M\"").breach("memory"),
    limit("R14t", "200 threads where 32 may be", &["threads", "200"], "pids = 32"),
    limit("R16", "200 dead children where 32 may be", &["zombies", "200"], "pids = 32"),
];
