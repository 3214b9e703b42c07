//! Where alerts outlive the daemon: one file for what is remembered of rules, one for each message that nobody took yet.
//!
//! ```text
//! alerts/state.json             groups, clocks and silences (Saved), replaced whole
//! alerts/outbox/NAME@ID.json    to be sent
//! alerts/dead/NAME@ID.json      given up; the newest 1,000
//! ```
//!
//! Files and not rows of the store: an alert that says that the store is full has to get out. Each is written beside its place, fsynced and
//! renamed. Everything here blocks.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ganger_alert::Saved;
use ganger_alert::notify::Shelf;
use ganger_alert::notify::outbox::{DEAD_MAX, Entry};
use serde::Serialize;
use serde::de::DeserializeOwned;

const STATE: &str = "state.json";
const OUTBOX: &str = "outbox";
const DEAD: &str = "dead";

/// The folder; see the module.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Dead letters' files, oldest first.
    dead: VecDeque<PathBuf>,
}

/// What a former daemon left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) saved: Option<Saved>,
    pub(super) waiting: Vec<Entry>,
    pub(super) dead: Vec<Entry>,
}

impl Folder {
    /// Reads what is there. A file that can't be read is told and left out.
    pub(super) fn open(path: PathBuf) -> (Self, Left) {
        let saved = read(&path.join(STATE));
        let (waiting, mut dead) = (entries(&path.join(OUTBOX)), entries(&path.join(DEAD)));
        dead.sort_by_key(|(entry, _)| entry.born);
        let (dead, files): (Vec<_>, VecDeque<_>) = dead.into_iter().unzip();
        let waiting = waiting.into_iter().map(|(entry, _)| entry).collect();
        (Self { path, dead: files }, Left { saved, waiting, dead })
    }

    /// Replaces what is remembered.
    pub(super) fn save(&self, saved: &Saved) -> io::Result<()> {
        write(&self.path, STATE, saved)
    }

    fn place(&self, kind: &str, entry: &Entry) -> (PathBuf, String) {
        // Receivers are names of the configuration, ids are hexadecimal: both can be parts of file names.
        (self.path.join(kind), format!("{}@{}.json", entry.receiver, entry.id))
    }
}

impl Shelf for Folder {
    type Error = io::Error;

    fn put(&mut self, entry: &Entry) -> io::Result<()> {
        let (folder, name) = self.place(OUTBOX, entry);
        write(&folder, &name, entry)
    }

    fn remove(&mut self, entry: &Entry) -> io::Result<()> {
        let (folder, name) = self.place(OUTBOX, entry);
        gone(fs::remove_file(folder.join(name)))?;
        sync(&folder)
    }

    fn bury(&mut self, entry: &Entry) -> io::Result<()> {
        let (folder, name) = self.place(DEAD, entry);
        write(&folder, &name, entry)?;
        self.dead.push_back(folder.join(name));
        while self.dead.len() > DEAD_MAX {
            if let Some(oldest) = self.dead.pop_front() {
                gone(fs::remove_file(oldest))?;
            }
        }
        // One that never waited (its body was too long) has no file to be removed.
        self.remove(entry)
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let fresh = folder.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    serde_json::to_writer(&mut file, value)?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(name))?;
    sync(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(error) => gone(Err(error)),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let told = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, path = %path.display(), "what is remembered of alerts can't be read");
    };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).inspect_err(|e| told(e)).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            told(&error);
            None
        }
    }
}

fn entries(folder: &Path) -> Vec<(Entry, PathBuf)> {
    let Ok(list) = fs::read_dir(folder) else { return Vec::new() };
    let paths = list.filter_map(|entry| Some(entry.ok()?.path()));
    let paths = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    paths.filter_map(|path| Some((read(&path)?, path))).collect()
}

#[cfg(test)]
mod tests {
    use ganger_alert::notify::Outbox;
    use ganger_alert::notify::outbox::Outcome;

    use super::*;

    fn open(at: &Path) -> Outbox<Folder> {
        let (folder, left) = Folder::open(at.to_owned());
        Outbox::new(folder, left.waiting, left.dead)
    }

    #[test]
    fn what_was_not_taken_is_there_after_a_crash_and_what_was_taken_is_not() {
        let at = tempfile::tempdir().unwrap();
        let mut outbox = open(at.path());
        for id in ["a", "b", "c"] {
            outbox.push(id, "ops", format!("body of {id}"), 1_000).unwrap();
        }
        let due = outbox.due(1_000, 3);
        outbox.done(&due[0], Outcome::Taken, 2_000, 0.5).unwrap();
        outbox.done(&due[1], Outcome::Again("down".into(), None), 2_000, 0.5).unwrap();
        // The third was being sent when the daemon died: it goes again, under the same id.
        let mut again = open(at.path());
        let mut ids: Vec<String> = again.due(1 << 40, 9).into_iter().map(|e| e.id).collect();
        ids.sort();
        assert_eq!(ids, ["b", "c"]);
        let entry = Entry { receiver: "ops".into(), ..due[2].clone() };
        again.done(&entry, Outcome::Refused("no".into()), 3_000, 0.5).unwrap();
        let last = open(at.path());
        assert_eq!(last.len(), 1);
        assert_eq!(last.dead().map(|e| e.error.as_deref().unwrap()).collect::<Vec<_>>(), ["no"]);
    }

    #[test]
    fn only_the_newest_dead_letters_stay_on_disk() {
        let at = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(at.path().to_owned());
        folder.dead = (0..DEAD_MAX).map(|n| at.path().join(n.to_string())).collect();
        fs::write(&folder.dead[0], "").unwrap();
        let entry = Entry {
            id: "x".into(),
            receiver: "ops".into(),
            body: String::new(),
            born: 1,
            failures: 1,
            next: 1,
            error: None,
        };
        folder.bury(&entry).unwrap();
        assert_eq!(folder.dead.len(), DEAD_MAX);
        assert!(!at.path().join("0").exists() && at.path().join("dead/ops@x.json").exists());
    }
}
