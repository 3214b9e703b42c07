//! Networks with nothing in them, used by one child after the other: making one and taking it away is a fifth of the processor time of a
//! start in `strict`.
//!
//! Used again is only what nothing of a child can be left in (`docs/design/006-walls.md` says why):
//!
//! ```text
//! made ──lend──▶ a child's alone ──its pid namespace reaped, no socket left──▶ idle ──lend, to the same user──▶ …
//!                       └──anything else──▶ gone                              └──KEPT, or the oldest of too many──▶ gone
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_sys::spawn::Network;

use super::{Built, Net, ProfileName, Sandbox, Wall};

/// How long an idle one is kept: longer than whoever runs one command after the other pauses between two.
const KEPT: Duration = Duration::from_secs(10);
/// Idle ones. Each is some hundred KiB of the kernel's memory; more than are started at once on a machine of four processors help
/// nobody.
const IDLE_MAX: usize = 8;

/// What has to stand, besides the filter of `strict`, so that nothing can be left behind.
const NEEDED: [Wall; 9] = [
    Wall::User,
    Wall::Mount,
    Wall::Pid,
    Wall::Net,
    Wall::Ipc,
    Wall::Landlock,
    Wall::Capabilities,
    Wall::NoNewPrivs,
    Wall::Seccomp,
];

/// Who used one: the name of what ran, and for whom it did.
type User = (String, String);

/// Those that are idle, by who used them.
#[derive(Debug, Default)]
pub struct Networks {
    idle: BTreeMap<User, Vec<(Instant, Arc<Network>)>>,
}

/// One that a child has for itself.
#[derive(Debug)]
pub struct LentNetwork {
    network: Arc<Network>,
    user: User,
}

impl Networks {
    /// Gives the child a network, where it needs one and may have one of these; without, the child makes its own. `user` is the name of
    /// what runs and for whom it does: one never gets what another one has used.
    pub fn lend(&mut self, user: (String, String), sandbox: &Sandbox, built: &mut Built) {
        if !leaves_nothing(sandbox, built) {
            return;
        }
        let idle = self.idle.get_mut(&user).and_then(Vec::pop).map(|(_, network)| network);
        // Refused, the child is as well, and says so.
        let Some(network) = idle.or_else(|| Network::make().ok().map(Arc::new)) else { return };
        built.walls.network = Some(network.clone());
        built.network = Some(LentNetwork { network, user });
    }

    /// Takes it back. Everything that was in it must have been reaped; one in which there is a socket all the same, as somebody else holds
    /// it, is nobody's any more.
    pub fn give_back(&mut self, lent: LentNetwork, now: Instant) {
        if !lent.network.is_unused() {
            return;
        }
        while self.idle.values().map(Vec::len).sum::<usize>() >= IDLE_MAX {
            let Some(oldest) = self.due() else { break };
            self.tidy(oldest);
        }
        self.tidy(now);
        self.idle.entry(lent.user).or_default().push((now, lent.network));
    }

    /// When the next one has been idle for too long.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.idle.values().flatten().map(|(since, _)| *since + KEPT).min()
    }

    /// Lets go of those that were idle for too long.
    pub fn tidy(&mut self, now: Instant) {
        for idle in self.idle.values_mut() {
            idle.retain(|(since, _)| now < *since + KEPT);
        }
        self.idle.retain(|_, idle| !idle.is_empty());
    }
}

/// It has no socket but Unix ones, no right over the network, and everything of it ends with its pid namespace.
fn leaves_nothing(sandbox: &Sandbox, built: &Built) -> bool {
    sandbox.profile == ProfileName::Strict
        && sandbox.net() == Net::None
        && !built.walls.loopback
        && NEEDED.iter().all(|wall| built.standing.contains(wall))
        && rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    use super::*;
    use crate::Mode;
    use crate::walls::{Inmate, Missing};

    fn built(sandbox: &Sandbox) -> Option<Built> {
        let (program, cwd) = (Path::new("/bin/true"), Path::new("/"));
        let inmate = Inmate { program, cwd, identity: None, hide: &[], roots: None };
        let built = sandbox.build(inmate, &Missing::new());
        built.inspect_err(|error| println!("skipped: {error}")).ok()
    }

    fn user(name: &str) -> User {
        (name.to_owned(), "uid:7".to_owned())
    }

    fn lent(networks: &mut Networks, name: &str, sandbox: &Sandbox) -> Option<LentNetwork> {
        let mut built = built(sandbox)?;
        networks.lend(user(name), sandbox, &mut built);
        assert_eq!(built.network.is_some(), built.walls.network.is_some());
        built.network
    }

    #[test]
    fn one_user_never_gets_what_another_one_used() {
        let mut networks = Networks::default();
        let strict = Sandbox::of(ProfileName::Strict);
        let now = Instant::now();
        let Some(first) = lent(&mut networks, "a", &strict) else { return };
        let same = first.network.clone();
        let is = |lent: LentNetwork| Arc::ptr_eq(&lent.network, &same);
        assert!(!is(lent(&mut networks, "a", &strict).unwrap()), "it was in use");
        networks.give_back(first, now);
        assert!(!is(lent(&mut networks, "b", &strict).unwrap()));
        let mut other = built(&strict).unwrap();
        networks.lend(("a".into(), "uid:8".into()), &strict, &mut other);
        assert!(!is(other.network.unwrap()));
        assert!(is(lent(&mut networks, "a", &strict).unwrap()));
        assert_eq!(networks.due(), None);
    }

    #[test]
    fn they_are_few_and_not_kept_for_ever() {
        let mut networks = Networks::default();
        let strict = Sandbox::of(ProfileName::Strict);
        let now = Instant::now();
        let Some(LentNetwork { network, .. }) = lent(&mut networks, "a", &strict) else { return };
        for turn in 0..2 * IDLE_MAX {
            let user = user(&turn.to_string());
            let ago = Duration::from_millis((2 * IDLE_MAX - turn) as u64);
            let then = now - ago;
            networks.give_back(LentNetwork { network: network.clone(), user }, then);
        }
        assert_eq!(networks.idle.len(), IDLE_MAX);
        // Those that were given back last are there.
        let now = now - Duration::from_millis(IDLE_MAX as u64);
        assert_eq!(networks.due(), Some(now + KEPT));
        networks.tidy(now + KEPT - Duration::from_nanos(1));
        assert_eq!(networks.idle.len(), IDLE_MAX);
        networks.tidy(now + KEPT);
        assert_eq!(networks.idle.len(), IDLE_MAX - 1);
        networks.tidy(now + KEPT + KEPT);
        assert_eq!(networks.due(), None);
        assert_eq!(Arc::strong_count(&network), 1);
    }

    #[test]
    fn one_with_a_socket_of_somebodys_is_nobodys() {
        let mut networks = Networks::default();
        let strict = Sandbox::of(ProfileName::Strict);
        let Some(first) = lent(&mut networks, "a", &strict) else { return };
        let inside = first.network.clone();
        let held = std::thread::spawn(move || {
            let space = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(inside.namespace(), space).unwrap();
            UnixStream::pair().unwrap()
        });
        let held = held.join().unwrap();
        let second = lent(&mut networks, "a", &strict).unwrap();
        networks.give_back(first, Instant::now());
        assert_eq!(networks.due(), None, "a child would get a network with a socket in it");
        networks.give_back(second, Instant::now());
        assert!(networks.due().is_some());
        drop(held);
    }

    #[test]
    fn where_something_could_be_left_it_is_the_childs_own() {
        let mut networks = Networks::default();
        let strict = Sandbox::of(ProfileName::Strict);
        let without = |wall| Sandbox { layers: [(wall, Mode::Off)].into(), ..strict.clone() };
        let others = [
            Sandbox::of(ProfileName::Build),
            Sandbox::of(ProfileName::Standard),
            Sandbox { net: Some(Net::Host), ..strict.clone() },
            without(Wall::Seccomp),
            without(Wall::Pid),
            without(Wall::Landlock),
        ];
        for sandbox in others {
            assert!(lent(&mut networks, "a", &sandbox).is_none(), "{sandbox:?}");
        }
    }
}
