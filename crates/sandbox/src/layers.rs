//! A profile resolved into what `ganger_sys::spawn` applies in the child.

use ganger_sys::spawn::{Ids, Resource, Rlimit};

use crate::{Layer, Profile};

/// Mode mask where a profile names none.
const UMASK: u32 = 0o022;

/// What the child applies to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    /// setrlimit(2).
    pub rlimits: Vec<Rlimit>,
    /// User and groups, where they differ from ganger's own.
    pub identity: Option<Ids>,
    /// File mode mask.
    pub umask: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// What holds once the child runs.
    pub enforced: Vec<Layer>,
}

/// A profile that can't be applied by anybody here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Another user, without the right to become one.
    #[error(
        "user {uid} asked for, but ganger runs as {own}: start ganger as root, or leave `user` out"
    )]
    NotRoot {
        /// The user asked for.
        uid: u32,
        /// The user ganger is.
        own: u32,
    },
    /// A limit above what ganger itself was given.
    #[error(
        "limit {what} of {asked} is above ganger's own hard limit {hard}: lower it or raise ganger's"
    )]
    AboveHard {
        /// Which limit.
        what: &'static str,
        /// What was asked for.
        asked: u64,
        /// The hard limit.
        hard: u64,
    },
}

/// Resolves a profile. `files` is the soft and hard RLIMIT_NOFILE that ganger was started with: it raises its own, children
/// get the original.
///
/// # Errors
/// What this process has no right to give.
pub fn resolve(profile: &Profile, files: (u64, u64)) -> Result<Layers, ResolveError> {
    let own = rustix::process::geteuid();
    let identity = profile
        .identity
        .as_ref()
        .filter(|wanted| own.is_root() || wanted.uid != own.as_raw() || wanted.gid != gid());
    if let Some(wanted) = identity
        && !own.is_root()
    {
        return Err(ResolveError::NotRoot { uid: wanted.uid, own: own.as_raw() });
    }
    let limits = &profile.limits;
    if let Some(asked) = limits.files
        && asked > files.1
        && !own.is_root()
    {
        return Err(ResolveError::AboveHard { what: "files", asked, hard: files.1 });
    }
    let (soft, hard) = limits.files.map_or(files, |n| (n, n));
    let mut rlimits = vec![Rlimit { resource: Resource::Files, soft, hard }];
    let mut add = |resource, value: Option<u64>, grace: u64| {
        if let Some(soft) = value {
            rlimits.push(Rlimit { resource, soft, hard: soft.saturating_add(grace) });
        }
    };
    add(Resource::Core, limits.core, 0);
    // SIGXCPU at the soft limit gives the program a second to say goodbye before SIGKILL at the hard one.
    add(Resource::CpuTime, limits.cpu_time, 1);
    add(Resource::FileSize, limits.file_size, 0);
    add(Resource::AddressSpace, limits.address_space, 0);
    let mut enforced = Vec::new();
    let asked_rlimits = rlimits.len() > 1 || limits.files.is_some();
    enforced.extend(asked_rlimits.then_some(Layer::Rlimits));
    enforced.extend(identity.map(|_| Layer::Identity));
    enforced.extend(profile.no_new_privs.then_some(Layer::NoNewPrivs));
    Ok(Layers {
        rlimits,
        identity: identity.map(|who| Ids {
            uid: who.uid,
            gid: who.gid,
            groups: who.groups.clone(),
        }),
        umask: profile.umask.unwrap_or(UMASK),
        no_new_privs: profile.no_new_privs,
        enforced,
    })
}

fn gid() -> u32 {
    rustix::process::getegid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Limits};

    #[test]
    fn an_empty_profile_gives_the_original_descriptor_limit_only() {
        let layers = resolve(&Profile::default(), (1024, 4096)).unwrap();
        let files = Rlimit { resource: Resource::Files, soft: 1024, hard: 4096 };
        assert_eq!(layers.rlimits, [files]);
        assert_eq!((layers.umask, layers.enforced.len()), (0o022, 0));
    }

    #[test]
    fn limits_become_layers() {
        let limits = Limits { files: Some(10), cpu_time: Some(3), ..Limits::default() };
        let profile = Profile { limits, no_new_privs: true, ..Profile::default() };
        let layers = resolve(&profile, (1024, 4096)).unwrap();
        assert_eq!(layers.enforced, [Layer::Rlimits, Layer::NoNewPrivs]);
        let cpu = Rlimit { resource: Resource::CpuTime, soft: 3, hard: 4 };
        assert!(layers.rlimits.contains(&cpu));
    }

    #[test]
    fn another_user_needs_root() {
        let identity = Identity { uid: 4242, gid: 4242, groups: Vec::new() };
        let profile = Profile { identity: Some(identity), ..Profile::default() };
        let resolved = resolve(&profile, (1024, 4096));
        if rustix::process::geteuid().is_root() {
            assert_eq!(resolved.unwrap().identity.unwrap().uid, 4242);
        } else {
            assert!(resolved.unwrap_err().to_string().contains("4242"));
        }
    }
}
