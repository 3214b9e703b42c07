//! What common programs can be made to do, by GTFOBins' classes (<https://gtfobins.github.io>, read 2026-11; the entries are
//! our own short form of it): which programs start others whatever they are given, which do it by their operands, and by
//! which options. For `lint`, for the reason of a denial, and for refusing policies that would let anything run.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::path::file_name;

/// What a program or one of its options can be made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Gives a shell or interprets a program of the caller's.
    Shell,
    /// Runs another command.
    Command,
    /// Reads files of the caller's choice.
    Read,
    /// Writes files of the caller's choice.
    Write,
    /// Connects to hosts of the caller's choice: uploads and downloads.
    Connect,
    /// Loads code: libraries, plug-ins, settings that run something.
    Load,
    /// Changes users, capabilities, namespaces or owners.
    Privilege,
}

impl Class {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 7] = [
        ("shell", Self::Shell),
        ("command", Self::Command),
        ("read", Self::Read),
        ("write", Self::Write),
        ("connect", Self::Connect),
        ("load", Self::Load),
        ("privilege", Self::Privilege),
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, class)| *class == self).map_or("command", |(name, _)| name)
    }

    /// "it …"
    #[must_use]
    pub fn as_phrase(self) -> &'static str {
        match self {
            Self::Shell => "gives a shell",
            Self::Command => "runs another command",
            Self::Read => "reads other files",
            Self::Write => "writes other files",
            Self::Connect => "connects to other hosts",
            Self::Load => "loads code",
            Self::Privilege => "changes privileges",
        }
    }

    /// It can run anything, so that no other rule of a policy means much.
    #[must_use]
    pub const fn is_total(self) -> bool {
        matches!(self, Self::Shell | Self::Command | Self::Privilege)
    }
}

/// What is known of a program.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What operands that the caller chooses make it do.
    pub(crate) operands: Vec<Class>,
    /// What it can do once it runs on a terminal or reads its input, whatever its arguments.
    pub(crate) inside: Vec<Class>,
    /// By options: exact names, or the beginning of one where it ends with `*`.
    options: Vec<(&'static str, Class)>,
}

/// Entries by program name; many names have the same.
static TABLE: LazyLock<HashMap<&'static str, Arc<Entry>>> =
    LazyLock::new(|| TEXT.lines().filter_map(line).flatten().collect());
const TEXT: &str = include_str!("table.txt");

/// `names; operands; inside; options`. A test holds every line of ours to it.
fn line(text: &'static str) -> Option<Vec<(&'static str, Arc<Entry>)>> {
    if text.starts_with('#') {
        return None;
    }
    let mut parts = text.split(';').map(str::trim);
    let names = parts.next()?.split_whitespace();
    let classes = |part: &str| part.split_whitespace().map(class).collect::<Option<Vec<_>>>();
    let (operands, inside) = (classes(parts.next()?)?, classes(parts.next()?)?);
    let option =
        |text: &'static str| text.rsplit_once('=').and_then(|(name, of)| Some((name, class(of)?)));
    let options = parts.next()?.split_whitespace().map(option).collect::<Option<Vec<_>>>()?;
    let entry = Arc::new(Entry { operands, inside, options });
    Some(names.map(|name| (name, Arc::clone(&entry))).collect())
}

fn class(word: &str) -> Option<Class> {
    Class::ALL.iter().find(|(name, _)| *name == word).map(|(_, class)| *class)
}

/// What is known of the program at a path.
pub(crate) fn entry(program: &str) -> Option<&'static Entry> {
    let name = file_name(program);
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    TABLE.get(name).or_else(|| TABLE.get(base)).map(Arc::as_ref)
}

/// What the operands of a program make it do.
pub(crate) fn operands(program: &str) -> &'static [Class] {
    entry(program).map_or(&[], |entry| &entry.operands)
}

/// The class of an option of a program as somebody wrote it: exactly, with a value, abbreviated, or joined.
pub(crate) fn danger_of_option(program: &str, text: &str) -> Option<Class> {
    if !text.starts_with('-') {
        return None;
    }
    let name = text.split('=').next().unwrap_or(text);
    let agrees = |known: &str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None if known == name => true,
        // GNU's getopt_long takes any unambiguous beginning.
        None if known.starts_with("--") => name.len() > 4 && known.starts_with(name),
        None => known.len() == 2 && !name.starts_with("--") && name.starts_with(known),
    };
    entry(program)?.options.iter().find(|(known, _)| agrees(known)).map(|(_, class)| *class)
}

/// The class of an option in a policy's table.
pub(crate) fn class_of_option(program: &str, name: &str) -> Option<Class> {
    let agrees = |known: &str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => known == name,
    };
    entry(program)?.options.iter().find(|(known, _)| agrees(known)).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_version() {
        for program in [
            "/usr/bin/python3.11",
            "/usr/bin/python3",
            "/opt/x/bash",
            "/usr/bin/[",
            "/usr/bin/gawk",
        ] {
            assert_eq!(entry(program).is_some(), !program.ends_with('['), "{program}");
        }
        let lines: Vec<_> = TEXT.lines().filter(|text| !text.starts_with('#')).collect();
        let read: Vec<_> = lines.iter().filter_map(|text| line(text)).collect();
        assert_eq!(read.len(), lines.len(), "a line could not be read");
        let names: usize = read.iter().map(Vec::len).sum();
        assert!(names >= 120, "{names} names");
        assert_eq!(TABLE.len(), names, "a name stands twice");
    }

    #[test]
    fn options_are_known_in_every_spelling() {
        let is = |program: &str, text: &str| danger_of_option(program, text);
        assert_eq!(is("/usr/bin/find", "-exec"), Some(Class::Command));
        assert_eq!(is("/usr/bin/tar", "--checkpoint-action=exec=sh"), Some(Class::Command));
        assert_eq!(is("/usr/bin/tar", "--checkpoint-act=exec=sh"), Some(Class::Command));
        assert_eq!(is("/usr/bin/tar", "--to-com=sh"), Some(Class::Command));
        assert_eq!(is("/usr/bin/ssh", "-oProxyCommand=sh"), Some(Class::Command));
        assert_eq!(is("/usr/bin/git", "--upload-pack=sh"), Some(Class::Command));
        assert_eq!(is("/usr/bin/sort", "--compress-program"), Some(Class::Command));
        assert_eq!(is("/usr/bin/git", "--depth=1"), None);
        assert_eq!(is("/usr/bin/find", "x"), None);
    }
}
