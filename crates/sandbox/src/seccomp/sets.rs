//! The sets of calls that profiles allow.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Check, Ends, Rules, Verdict};

/// Which calls a child may make. Each allows what the one before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// Files, memory, processes, signals, time and Unix sockets: a program that computes.
    Strict,
    /// And IPv4, IPv6, System V and POSIX IPC, asynchronous I/O.
    Standard,
    /// And what compilers' and debuggers' test suites want: ptrace, memfd, address space without randomisation.
    Build,
}

impl Calls {
    /// The rules of this set.
    #[must_use]
    pub fn rules(self) -> Rules {
        let mut rules = Rules::new();
        SETS.iter().for_each(|names| rules.set(names, &Verdict::Allow));
        // As on a kernel that lacks it: the flags are behind a pointer and can't be looked at, and C libraries fall back to clone(2).
        rules.set(&["clone3"], &Verdict::Fail(Errno::NOSYS));
        rules.set(&["memfd_create"], &Verdict::Fail(Errno::NOSYS));
        for (names, check, errno) in checks() {
            rules.set(names, &Verdict::If(check, errno));
        }
        rules.set(&["socket"], &families(&[AF_UNIX]));
        if self >= Self::Standard {
            rules.set(IPC, &Verdict::Allow);
            // Addresses and routes may be read, as getifaddrs(3) does, also for Node and Go; changing them takes a capability.
            let routes = [(0, AF_NETLINK), (2, NETLINK_ROUTE)];
            let network = Check::OneOfOrBoth(0, vec![AF_UNIX, AF_INET, AF_INET6], routes);
            rules.set(&["socket"], &Verdict::If(network, Errno::AFNOSUPPORT));
        }
        if self >= Self::Build {
            rules.set(BUILDING, &Verdict::Allow);
            let any_layout = [PER_LINUX, ADDR_NO_RANDOMIZE, PERSONALITY_QUERY];
            rules.set(
                &["personality"],
                &Verdict::If(Check::OneOf(0, any_layout.into()), Errno::PERM),
            );
        }
        rules
    }

    /// The same, but what only attacks try ends the process instead of failing, so that somebody learns of it.
    #[must_use]
    pub fn watched(self) -> Rules {
        const DENIED: Verdict = Verdict::Fail(Errno::PERM);
        let mut rules = self.rules();
        let denied: Vec<&str> =
            HOSTILE.iter().copied().filter(|name| rules.of(name) == DENIED).collect();
        rules.set(&denied, &Verdict::End);
        if self == Self::Strict {
            // Code without a file of its own: honest programs execute paths.
            rules.set(&["execveat"], &Verdict::End);
        }
        if let Verdict::If(check, errno) = rules.of("socket") {
            let ends = Ends { argument: 0, values: vec![AF_PACKET, AF_VSOCK, AF_XDP] };
            rules.set(&["socket"], &Verdict::IfNotEnd(ends, check, errno));
        }
        rules
    }

    /// The same for a program that is itself executed by its descriptor: the filter stands before that.
    #[must_use]
    pub fn watched_by_descriptor(self) -> Rules {
        let mut rules = self.watched();
        rules.set(&["execveat"], &self.rules().of("execveat"));
        rules
    }
}

/// What a program that computes, builds or converts never calls, not even to see whether it could: whoever does is on its way out.
/// Not here: what libraries try and do without (io_uring, perf_event_open, keyctl, memfd_create, netlink).
const HOSTILE: &[&str] = &[
    "bpf",
    "chroot",
    "delete_module",
    "finit_module",
    "fsmount",
    "fsopen",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_writev",
    "ptrace",
    "reboot",
    "setns",
    "swapon",
    "umount2",
    "unshare",
    "userfaultfd",
];

/// What every set has.
const SETS: [&[&str]; 8] = [FILES, MEMORY, PROCESSES, SIGNALS, TIME, WAITING, SOCKETS, IDENTITY];

/// Every name that stands here, for the test that they are names.
#[cfg(test)]
pub(super) fn all() -> Vec<&'static str> {
    let plain = SETS.into_iter().chain([IPC, BUILDING, HOSTILE]).flatten().copied();
    let checks = checks();
    let checked = checks.iter().flat_map(|(names, ..)| names.iter().copied());
    plain.chain(checked).collect()
}

/// Address families of sys/socket.h. Others (packet, vsock, alg, xdp, …), and netlink's other protocols (netfilter, audit, …), reach parts of the kernel that few programs need and
/// many exploits did.
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;
/// Of those, families that nothing but an attack asks for under a policy.
const AF_PACKET: u32 = 17;
const AF_VSOCK: u32 = 40;
const AF_XDP: u32 = 44;

/// All flags of clone(2) that make a namespace (linux/sched.h).
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// Words of asm-generic/ioctls.h that put characters into a terminal's input (CVE-2017-5226, CVE-2019-10063).
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// PR_SET_MM of linux/prctl.h: where the process's own memory map says its program and arguments are.
const PR_SET_MM: u32 = 35;

/// SECCOMP_FILTER_FLAG_NEW_LISTENER: a filter that asks another process, which could then answer for this one.
const NEW_LISTENER: u32 = 1 << 3;

/// S_IFMT, and what is no device: nothing said, a file, a pipe, a socket.
const FILE_TYPE: u32 = 0o170_000;
const NO_DEVICE: [u32; 4] = [0, 0o100_000, 0o010_000, 0o140_000];

/// Policies of sched.h that no real-time priority goes with: other, batch, idle.
const NO_REAL_TIME: [u32; 3] = [0, 3, 5];

/// Of linux/personality.h.
const PER_LINUX: u32 = 0;
const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
const PERSONALITY_QUERY: u32 = 0xffff_ffff;

fn families(which: &[u32]) -> Verdict {
    Verdict::If(Check::OneOf(0, which.to_vec()), Errno::AFNOSUPPORT)
}

/// Calls that are harmless with some arguments only.
fn checks() -> [(&'static [&'static str], Check, Errno); 9] {
    [
        (&["clone"], Check::Without(0, NEW_NAMESPACES), Errno::PERM),
        (&["ioctl"], Check::NoneOf(1, vec![TIOCSTI, TIOCLINUX]), Errno::PERM),
        (&["prctl"], Check::NoneOf(0, vec![PR_SET_MM]), Errno::PERM),
        (&["seccomp"], Check::Without(1, NEW_LISTENER), Errno::PERM),
        (&["personality"], Check::OneOf(0, vec![PER_LINUX, PERSONALITY_QUERY]), Errno::PERM),
        (&["mknod"], Check::MaskedOneOf(1, FILE_TYPE, NO_DEVICE.into()), Errno::PERM),
        (&["mknodat"], Check::MaskedOneOf(2, FILE_TYPE, NO_DEVICE.into()), Errno::PERM),
        (&["sched_setscheduler"], Check::OneOf(1, NO_REAL_TIME.into()), Errno::PERM),
        (&["socketpair"], Check::OneOf(0, vec![AF_UNIX]), Errno::AFNOSUPPORT),
    ]
}

/// Files and folders, by name and by descriptor. Which of them is for mounts and Landlock to say.
const FILES: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "file_getattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "setxattrat",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vmsplice",
    "write",
    "writev",
];

const MEMORY: &[&str] = &[
    "brk",
    "cachestat",
    "get_mempolicy",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "mincore",
    "mlock",
    "mlock2",
    "mmap",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "remap_file_pages",
];

const PROCESSES: &[&str] = &[
    "arch_prctl",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "get_robust_list",
    "getcpu",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "ioprio_get",
    "ioprio_set",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "pidfd_open",
    "pidfd_send_signal",
    "prlimit64",
    "rseq",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "setpgid",
    "setpriority",
    "setrlimit",
    "setsid",
    "sysinfo",
    "uname",
    "vfork",
    "wait4",
    "waitid",
];

const SIGNALS: &[&str] = &[
    "kill",
    "pause",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "tgkill",
    "tkill",
];

const TIME: &[&str] = &[
    "alarm",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
];

const WAITING: &[&str] = &[
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "poll",
    "ppoll",
    "pselect6",
    "select",
];

/// What is done with a socket once it is there; which there may be is decided where it is made.
const SOCKETS: &[&str] = &[
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
];

/// What a process is. Nothing is gained by them without capabilities.
const IDENTITY: &[&str] = &[
    "capget",
    "capset",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getresgid",
    "getresuid",
    "getuid",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
];

const IPC: &[&str] = &[
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
];

const BUILDING: &[&str] = &[
    "kcmp",
    "memfd_create",
    "name_to_handle_at",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
];
