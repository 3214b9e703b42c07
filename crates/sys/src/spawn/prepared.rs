//! What the child reads: raw numbers and pointers into the [`Spec`], made before the clone.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::ptr;

use super::{Resource, Session, Spec, Walls};

/// Room for the digits of any pid and the end of the text.
const DIGITS: [u8; 12] = [0; 12];

/// A variable whose value is the child's own pid, which only the child knows.
struct PidVariable {
    text: Box<[u8]>,
    /// Where the digits begin.
    from: usize,
}

impl PidVariable {
    fn new(name: &str) -> Self {
        let text = [name.as_bytes(), b"=", &DIGITS].concat();
        Self { from: name.len() + 1, text: text.into() }
    }
}

/// Valid as long as the `Spec` it came from is neither moved nor changed: it points into it.
pub(super) struct Prepared {
    pub(super) program: *const libc::c_char,
    pub(super) argv: Vec<*const libc::c_char>,
    pub(super) envp: Vec<*const libc::c_char>,
    pid_variables: Vec<PidVariable>,
    pub(super) cwd: *const libc::c_char,
    /// (source, target); the child overwrites sources with where it moved them.
    pub(super) fds: Vec<(i32, i32)>,
    pub(super) keep: Vec<i32>,
    /// First number above every target.
    pub(super) base: i32,
    /// The table of descriptors is the parent's: nothing in it may be changed before the child has its own.
    pub(super) shared: bool,
    pub(super) setsid: bool,
    pub(super) terminal: Option<i32>,
    pub(super) umask: libc::mode_t,
    pub(super) rlimits: Vec<(libc::c_int, libc::rlimit64)>,
    pub(super) identity: Option<(u32, u32)>,
    pub(super) groups: Vec<u32>,
    pub(super) no_new_privs: bool,
    pub(super) join: Vec<i32>,
    /// Where the child reports: the error pipe, or -1 on the fast path.
    pub(super) report: i32,
    /// The same on the fast path: step << 32 | errno, 0 for none.
    pub(super) failure: u64,
    walls: *const Walls,
    /// Landlock's ruleset, above every target; -1 without.
    pub(super) ruleset: i32,
    /// Where the parent says that it has written the id maps, and the child's copy of the end that says it; or -1.
    pub(super) go: [i32; 2],
    /// Where the first process of a pid namespace says how the program ended, or -1: then there is none.
    pub(super) told: i32,
    /// The memory that the first process needs to the end; without, it keeps all.
    pub(super) image: Option<(usize, usize)>,
    /// The first process has done its part, and this one is to be the program.
    pub(super) led: bool,
    /// Of the program's process while it borrows the first one's memory.
    pub(super) stack: Vec<u128>,
}

impl Prepared {
    pub(super) fn new(spec: &Spec<'_>) -> Self {
        let pointers = |texts: &[CString]| texts.iter().map(|t| t.as_ptr()).collect::<Vec<_>>();
        let wanted = [("LISTEN_PID", spec.listen_pid), ("WATCHDOG_PID", spec.watchdog_pid)];
        let wanted = wanted.into_iter().filter(|(_, wanted)| *wanted);
        let mut pid_variables: Vec<_> = wanted.map(|(name, _)| PidVariable::new(name)).collect();
        let mut argv = pointers(&spec.argv);
        argv.push(ptr::null());
        let mut envp = pointers(&spec.env);
        for variable in &mut pid_variables {
            envp.push(variable.text.as_mut_ptr().cast());
        }
        envp.push(ptr::null());
        let fds: Vec<(i32, i32)> = spec
            .fds
            .iter()
            .map(|(from, to)| (from.as_raw_fd(), i32::try_from(*to).unwrap_or(i32::MAX - 1)))
            .collect();
        let base = fds.iter().map(|(_, to)| *to).max().unwrap_or(2).max(2) + 1;
        Self {
            program: spec.program.as_ptr(),
            argv,
            envp,
            pid_variables,
            cwd: spec.cwd.as_ref().map_or(ptr::null(), |cwd| cwd.as_ptr()),
            fds,
            keep: spec.keep.iter().map(AsRawFd::as_raw_fd).collect(),
            base,
            shared: false,
            setsid: matches!(spec.session, Session::New),
            terminal: match spec.session {
                Session::Foreground(terminal) => Some(terminal.as_raw_fd()),
                _ => None,
            },
            umask: spec.umask & 0o777,
            rlimits: spec
                .rlimits
                .iter()
                .map(|l| (number(l.resource), limit(l.soft, l.hard)))
                .collect(),
            identity: spec.identity.as_ref().map(|ids| (ids.uid, ids.gid)),
            groups: spec.identity.as_ref().map_or(Vec::new(), |ids| ids.groups.clone()),
            no_new_privs: spec.no_new_privs,
            join: spec.join.iter().map(AsRawFd::as_raw_fd).collect(),
            report: -1,
            failure: 0,
            walls: spec.walls.map_or(ptr::null(), ptr::from_ref),
            ruleset: -1,
            go: [-1; 2],
            told: -1,
            image: None,
            led: false,
            stack: Vec::new(),
        }
    }

    /// What stands around the child.
    pub(super) fn walls<'a>(&self) -> Option<&'a Walls> {
        // SAFETY: null or into the spec, which is neither moved nor changed while this lives.
        unsafe { self.walls.as_ref() }
    }

    /// Some variable is the child's own pid.
    pub(super) const fn wants_pid(&self) -> bool {
        !self.pid_variables.is_empty()
    }

    /// Writes the decimal digits of the child's own pid; called in the child.
    pub(super) fn write_pid(&mut self, pid: u32) {
        let mut digits = [0u8; 10];
        let (mut rest, mut count) = (pid, 0);
        while rest > 0 && count < digits.len() {
            digits[count] = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
        }
        for variable in &mut self.pid_variables {
            for at in 0..count {
                if let Some(slot) = variable.text.get_mut(variable.from + at) {
                    *slot = digits[count - 1 - at];
                }
            }
        }
    }
}

const fn limit(soft: u64, hard: u64) -> libc::rlimit64 {
    libc::rlimit64 { rlim_cur: soft, rlim_max: hard }
}

fn number(resource: Resource) -> libc::c_int {
    let raw = match resource {
        Resource::Files => libc::RLIMIT_NOFILE,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::CpuTime => libc::RLIMIT_CPU,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::Processes => libc::RLIMIT_NPROC,
    };
    libc::c_int::try_from(raw).unwrap_or(-1)
}
