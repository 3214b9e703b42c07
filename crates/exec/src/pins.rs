//! What must outlive a daemon: which files the programs of policies are pinned to, and which policies a person loaded.
//!
//! ```text
//! `up`:            policies ─ pin what is there ─ told where it is another file than was kept ─ kept
//! daemon begins:   policies ─ pin what is there ─ another file than was kept? the policy itself? ─ yes ─▶ denies everything, I03 or I17
//!                                                        └ no ─▶ in force                        (what was kept stays kept)
//! ```
//!
//! One small file beside the log's segments, replaced whole. Whoever may write it may write everything else of ganger's too: it is against
//! those who may change a program, or a row of the store, while no daemon watches.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ganger_audit as audit;
use ganger_audit::words::{NOT_LOADED, PROGRAM_CHANGED};
use ganger_policy::{Pins, Policies, Untrusted};
use serde::{Deserialize, Serialize};

/// In the log's folder.
const FILE: &str = "pins.json";
/// 4,000 policies are a megabyte; what is larger is none of ours.
const BYTES_MAX: u64 = 64 << 20;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Version of ganger: another one may write the same policy otherwise, so that digests say nothing.
    version: String,
    /// Boot of the machine, by which device numbers hold.
    boot: Option<String>,
    policies: BTreeMap<String, One>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct One {
    /// Of the policy's resolved form, hex.
    sha256: String,
    pins: Pins,
}

impl Kept {
    /// What a former load kept; none where there was none. Blocking.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(FILE);
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > BYTES_MAX => {
                return Err(io::Error::other(format!("{} is too large", path.display())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => {
                other?;
            }
        }
        let kept = serde_json::from_slice(&fs::read(&path)?);
        kept.map(Some).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    /// Holds policies against what was kept: what has to be told of each that differs, by name. Where nobody loaded them anew (`resumed`)
    /// they deny everything from here on.
    pub(crate) fn hold(
        &self,
        policies: &mut Policies,
        digests: &HashMap<String, String>,
        resumed: bool,
    ) -> BTreeMap<String, &'static str> {
        let same_boot = self.boot.is_some() && self.boot == boot();
        let same_version = self.version == env!("CARGO_PKG_VERSION");
        let mut doubts = BTreeMap::new();
        let mut exchanged = Vec::new();
        for (name, pins) in policies.pinned() {
            let path =
                || pins.script.as_ref().map_or(&pins.program, |(script, _)| script).path.clone();
            match self.policies.get(name) {
                None if resumed => drop(doubts.insert(name.to_owned(), NOT_LOADED)),
                Some(one) if resumed && same_version && digests.get(name) != Some(&one.sha256) => {
                    doubts.insert(name.to_owned(), NOT_LOADED);
                }
                Some(one) if path() == one.path() => {
                    if let Some(path) = pins.differs_from(&one.pins, same_boot) {
                        exchanged.push((name.to_owned(), path.to_owned()));
                        doubts.insert(name.to_owned(), PROGRAM_CHANGED);
                    }
                }
                // Another program by a person's wish; or another version that says the same otherwise.
                _ => {}
            }
        }
        if resumed {
            // What could be pinned once and can't any more: removed, a script by now, others may change it.
            let lost = policies.untrusted().filter(|(name, _)| self.policies.contains_key(*name));
            doubts.extend(lost.map(|(name, _)| (name.to_owned(), PROGRAM_CHANGED)));
            for (name, path) in exchanged {
                policies.distrust(&name, Untrusted::Exchanged(path));
            }
            for (name, _) in doubts.iter().filter(|(_, doubt)| **doubt == NOT_LOADED) {
                policies.distrust(name, Untrusted::NotLoaded);
            }
        }
        doubts
    }

    /// What is to be kept now: of policies that are doubted, what was.
    pub(crate) fn next(
        before: Option<&Self>,
        policies: &Policies,
        digests: &HashMap<String, String>,
    ) -> Self {
        let mut kept = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: boot(),
            policies: BTreeMap::new(),
        };
        for (name, _) in policies.iter() {
            let old = before.and_then(|before| before.policies.get(name));
            kept.policies.extend(old.map(|one| (name.to_owned(), one.clone())));
        }
        for (name, pins) in policies.pinned() {
            let sha256 = digests.get(name).cloned().unwrap_or_default();
            kept.policies.insert(name.to_owned(), One { sha256, pins: pins.clone() });
        }
        kept
    }

    /// Writes it down, whole or not at all. Blocking.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let (path, new) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    }
}

impl One {
    fn path(&self) -> String {
        let pins = &self.pins;
        pins.script.as_ref().map_or(&pins.program, |(script, _)| script).path.clone()
    }
}

/// Which boot of the machine this is.
pub(crate) fn boot() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

/// The pinned program as it is recorded.
pub(crate) fn programs(policies: &Policies) -> HashMap<String, audit::Program> {
    let one = |(name, pins): (&str, &Pins)| {
        let script = pins.script.as_ref().map(|(script, _)| script);
        (name.to_owned(), crate::records::program(&pins.program, script))
    };
    policies.pinned().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ganger_policy::{Disk, Identify, Identity, Policy, Stamp};

    use super::*;

    /// Files of a made machine: their inode by path.
    #[derive(Clone)]
    struct Machine(HashMap<&'static str, u64>, u64);

    impl Identify for Machine {
        fn stamp(&self, path: &str) -> io::Result<Stamp> {
            let ino = *self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(Stamp { dev: self.1, ino, size: 1, ctime: (1, 2) })
        }

        fn inspect(&self, path: &str, hash: bool) -> io::Result<Identity> {
            Ok(Identity {
                real: path.to_owned(),
                stamp: self.stamp(path)?,
                mode: 0o755,
                capabilities: false,
                writable: None,
                script: None,
                sha256: hash.then(|| "0".repeat(64)),
            })
        }
    }

    fn loaded(machine: &Machine, keys: &str) -> (Policies, HashMap<String, String>) {
        let policy: Policy = serde_json::from_str(keys).unwrap();
        let mut policies = Policies::new([("p".to_owned(), policy)].into()).unwrap();
        policies.pin(machine);
        (policies, [("p".to_owned(), keys.to_owned())].into())
    }

    const PLAIN: &str = r#"{"program":"/bin/x","allow":[{}]}"#;

    #[test]
    fn a_program_that_was_exchanged_is_denied_until_a_person_says_so() {
        let machine = Machine([("/bin/x", 7)].into(), 1);
        let (policies, digests) = loaded(&machine, PLAIN);
        let kept = Kept::next(None, &policies, &digests);
        let (mut same, _) = loaded(&machine, PLAIN);
        assert_eq!(kept.hold(&mut same, &digests, true), BTreeMap::new());
        assert_eq!(same.untrusted().count(), 0);

        let other = Machine([("/bin/x", 8)].into(), 1);
        let (mut now, _) = loaded(&other, PLAIN);
        let doubts = kept.hold(&mut now, &digests, true);
        assert_eq!(doubts, [("p".to_owned(), PROGRAM_CHANGED)].into());
        assert_eq!(now.untrusted().next(), Some(("p", &Untrusted::Exchanged("/bin/x".into()))));
        let (mut gone, _) = loaded(&Machine(HashMap::new(), 1), PLAIN);
        assert_eq!(
            kept.hold(&mut gone, &digests, true),
            [("p".to_owned(), PROGRAM_CHANGED)].into()
        );
        // The next daemon doubts it too.
        assert_eq!(Kept::next(Some(&kept), &now, &digests), kept);
        // A person's load takes it, and says so.
        let (mut now, _) = loaded(&other, PLAIN);
        assert_eq!(kept.hold(&mut now, &digests, false).len(), 1);
        assert_eq!(now.untrusted().count(), 0);
        assert_ne!(Kept::next(Some(&kept), &now, &digests), kept);
    }

    #[test]
    fn a_policy_that_nobody_loaded_is_denied() {
        let machine = Machine([("/bin/x", 7)].into(), 1);
        let (policies, digests) = loaded(&machine, PLAIN);
        let kept = Kept::next(None, &policies, &digests);
        let wider = r#"{"program":"/bin/x","allow":[{}],"sandbox":"none"}"#;
        let (mut now, other) = loaded(&machine, wider);
        assert_eq!(kept.hold(&mut now, &other, true), [("p".to_owned(), NOT_LOADED)].into());
        assert_eq!(now.untrusted().next(), Some(("p", &Untrusted::NotLoaded)));
        let (mut now, other) = loaded(&machine, wider);
        assert_eq!(kept.hold(&mut now, &other, false), BTreeMap::new());
        // One that is not there at all in what was kept.
        let none = Kept { policies: BTreeMap::new(), ..kept.clone() };
        let (mut now, _) = loaded(&machine, PLAIN);
        assert_eq!(none.hold(&mut now, &digests, true).len(), 1);
        // Another version may write the same policy otherwise.
        let older = Kept { version: "0.0.0".into(), ..kept };
        let (mut now, _) = loaded(&machine, PLAIN);
        assert_eq!(older.hold(&mut now, &other, true), BTreeMap::new());
    }

    #[test]
    fn a_boot_gives_devices_other_numbers_and_named_contents_are_the_file() {
        let machine = Machine([("/bin/x", 7)].into(), 1);
        let (policies, digests) = loaded(&machine, PLAIN);
        let kept = Kept::next(None, &policies, &digests);
        let moved = Machine([("/bin/x", 7)].into(), 2);
        let (mut now, _) = loaded(&moved, PLAIN);
        assert_eq!(kept.hold(&mut now, &digests, true).len(), 1);
        let before = Kept { boot: Some("another".into()), ..kept };
        let (mut now, _) = loaded(&moved, PLAIN);
        assert_eq!(before.hold(&mut now, &digests, true).len(), 0);
        let named =
            format!(r#"{{"program":"/bin/x","sha256":"{}","allow":[{{}}]}}"#, "0".repeat(64));
        let (policies, digests) = loaded(&machine, &named);
        let kept = Kept::next(None, &policies, &digests);
        let (mut now, _) = loaded(&Machine([("/bin/x", 9)].into(), 1), &named);
        assert_eq!(kept.hold(&mut now, &digests, true).len(), 0);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let policy = format!(r#"{{"program":"{}","allow":[{{}}]}}"#, shell.display());
        let policy: Policy = serde_json::from_str(&policy).unwrap();
        let mut policies = Policies::new([("p".to_owned(), policy)].into()).unwrap();
        policies.pin(&Disk);
        let kept = Kept::next(None, &policies, &[("p".to_owned(), "d".to_owned())].into());
        let folder = dir.path().join("audit");
        assert_eq!(Kept::read(&folder).unwrap(), None);
        kept.write(&folder).unwrap();
        assert_eq!(Kept::read(&folder).unwrap(), Some(kept));
        let mode = fs::metadata(folder.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.join(FILE), "{").unwrap();
        assert!(Kept::read(&folder).unwrap_err().to_string().contains(FILE));
    }
}
