//! What is watched: trees by name and slot, and strangers by what they look like.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use ganger_core::pattern;

/// A tree's number in the sampler, from 0 up; it stays as long as the sampler lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeId(pub u32);

/// A process to watch with all that it starts. Name and slot are its identity: a restart goes on with the same counters.
#[derive(Debug)]
pub struct Watch<'fd> {
    /// The service's, worker's or command's name.
    pub name: String,
    /// Its slot.
    pub slot: u32,
    /// The process.
    pub pid: u32,
    /// Proves that the number is still the process's own.
    pub pidfd: Option<BorrowedFd<'fd>>,
    /// Its cgroup's folder (v2): read beside, and orphans are known by it.
    pub cgroup: Option<PathBuf>,
    /// `NAME=value` of the environment that only its processes have: orphans are known by it.
    pub mark: Option<String>,
    /// Also what it starts.
    pub descendants: bool,
}

/// Processes of the machine that ganger did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// The name they are shown by; each gets the lowest free slot.
    pub name: String,
    /// Which.
    pub by: By,
}

/// What a process must look like. In texts `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Its number.
    Pid(u32),
    /// The kernel's name for it, at most 15 bytes: `postgres`, `php-fpm*`.
    Name(String),
    /// Its arguments with blanks between: `*manage.py runserver*`. At most the first 4,096 bytes are looked at.
    CommandLine(String),
    /// Its user's number.
    User(u32),
}

/// What is looked at for a [`Pick`].
pub(crate) struct Looks<'a> {
    pub(crate) pid: u32,
    pub(crate) name: &'a [u8],
    pub(crate) user: Option<u32>,
    /// Zero bytes between arguments, as in `/proc/PID/cmdline`.
    pub(crate) arguments: Option<&'a [u8]>,
}

impl Pick {
    pub(crate) fn fits(&self, looks: &Looks<'_>) -> bool {
        match &self.by {
            By::Pid(pid) => looks.pid == *pid,
            By::Name(text) => pattern::matches(text, &String::from_utf8_lossy(looks.name)),
            By::User(user) => looks.user == Some(*user),
            By::CommandLine(text) => looks.arguments.is_some_and(|arguments| {
                let end = arguments.iter().rposition(|c| *c != 0).map_or(0, |last| last + 1);
                let line = String::from_utf8_lossy(&arguments[..end]).replace('\0', " ");
                !line.is_empty() && pattern::matches(text, &line)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_pick_looks_at_its_own() {
        let looks = Looks {
            pid: 7,
            name: b"python3",
            user: Some(33),
            arguments: Some(b"python3\0manage.py\0runserver\0"),
        };
        let fits = |by| Pick { name: "x".into(), by }.fits(&looks);
        assert!(fits(By::Pid(7)) && !fits(By::Pid(8)));
        assert!(fits(By::Name("python*".into())) && !fits(By::Name("python".into())));
        assert!(fits(By::User(33)) && !fits(By::User(0)));
        assert!(fits(By::CommandLine("*manage.py runserver".into())));
        assert!(!fits(By::CommandLine("manage.py".into())));
        let gone = Looks { arguments: None, user: None, ..looks };
        assert!(!Pick { name: "x".into(), by: By::CommandLine("*".into()) }.fits(&gone));
    }
}
