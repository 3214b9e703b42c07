//! `supervisord.conf`: programs become services, groups and numbered processes groups.

mod expand;
mod include;
mod ini;
pub(super) mod keys;
mod order;
mod program;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::super::model::SourceFile;
use super::super::resolve::absolute;
use super::super::walk::Walk;
use super::draft::{Draft, Notes};
use super::name_for;
use expand::{Names, When, expand, pairs};
use ini::Section;
use program::{Defaults, Made};

/// Reads a supervisord.conf with its includes; what is wrong is reported to `walk`.
pub(super) fn draft(text: &str, walk: &mut Walk<'_>, sources: &mut Vec<SourceFile>) -> Draft {
    let here = absolute(walk.dir, ".");
    let mut names = Names::default();
    names.env.clone_from(walk.env);
    names.texts.insert("here", here.display().to_string());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    names.texts.insert("host_node_name", host);
    let mut notes = Notes::default();
    let sections = include::read(text, &names, walk, sources, &mut notes);
    let defaults = daemon(&sections, &mut names, &mut notes, walk);
    let groups = groups(&sections, &names, &mut notes, walk);
    let mut made = Vec::new();
    let mut taken = BTreeSet::new();
    for section in &sections {
        if let Some(name) = section.name.strip_prefix("program:") {
            let group = groups.iter().find(|group| group.programs.iter().any(|one| one == name));
            let mut scope = Scope { names: &names, defaults: &defaults, notes: &mut notes, walk };
            let program = program::read(name.trim(), section, group, &mut scope, &mut taken);
            made.extend(program);
        } else {
            other(section, &mut notes);
        }
    }
    assemble(made, &groups, notes, walk)
}

/// What the reading of a program looks things up in and writes to.
struct Scope<'s, 'w> {
    names: &'s Names,
    defaults: &'s Defaults,
    notes: &'s mut Notes,
    walk: &'s mut Walk<'w>,
}

/// `[group:x]`.
#[derive(Debug)]
struct Group {
    name: String,
    programs: Vec<String>,
    priority: i64,
    span: std::ops::Range<usize>,
}

/// supervisord's default priority, of programs and groups.
const PRIORITY: i64 = 999;

fn groups(
    sections: &[Section],
    names: &Names,
    notes: &mut Notes,
    walk: &mut Walk<'_>,
) -> Vec<Group> {
    let mut groups = Vec::new();
    for section in sections {
        let Some(name) = section.name.strip_prefix("group:") else { continue };
        let name = name.trim();
        keys::GROUP.note(section.entries.iter().map(|e| e.key.as_str()), name, notes);
        let mut text = |key: &str| {
            let entry = section.get(key)?;
            match expand(&entry.value, names, When::Now) {
                Ok(text) => Some(text),
                Err(why) => {
                    walk.error(entry.span.clone(), why);
                    None
                }
            }
        };
        let programs = text("programs").unwrap_or_default();
        let priority = text("priority").and_then(|n| n.parse().ok()).unwrap_or(PRIORITY);
        let programs = programs.split([',', '\n']).map(|one| one.trim().to_owned());
        groups.push(Group {
            name: name.to_owned(),
            programs: programs.filter(|one| !one.is_empty()).collect(),
            priority,
            span: section.span.clone(),
        });
    }
    groups
}

/// `[supervisord]`: what holds for all programs.
fn daemon(
    sections: &[Section],
    names: &mut Names,
    notes: &mut Notes,
    walk: &mut Walk<'_>,
) -> Defaults {
    let mut defaults = Defaults::default();
    let Some(section) = sections.iter().find(|section| section.name == "supervisord") else {
        return defaults;
    };
    let plain = |key: &str, value: &str| key == "umask" && program::is_usual_umask(value);
    let written = section.entries.iter().filter(|entry| !plain(&entry.key, &entry.value));
    keys::DAEMON.note(written.map(|e| e.key.as_str()), "", notes);
    for entry in &section.entries {
        let when = if entry.key == "environment" { When::AtUp } else { When::Now };
        if !["environment", "directory", "umask", "user"].contains(&entry.key.as_str()) {
            continue;
        }
        match expand(&entry.value, names, when) {
            Err(why) => {
                walk.error(entry.span.clone(), why);
            }
            Ok(value) => match entry.key.as_str() {
                "environment" => match pairs(&value) {
                    Ok(pairs) => names.own_env.extend(pairs),
                    Err(why) => {
                        walk.error(entry.span.clone(), why);
                    }
                },
                "directory" => defaults.cwd = Some(absolute(walk.dir, &value)),
                "umask" => defaults.umask = Some(value),
                _ => defaults.user = Some(value).filter(|user| user != "root"),
            },
        }
    }
    defaults
}

fn other(section: &Section, notes: &mut Notes) {
    let name = section.name.as_str();
    if ["supervisord", "include"].contains(&name) || name.starts_with("group:") {
        return;
    }
    let known = keys::SECTIONS.iter().find(|(start, _)| name.starts_with(start));
    match known {
        Some((start, why)) if start.ends_with(':') => {
            notes.left(&format!("[{start}x]"), *why, name.trim_start_matches(start));
        }
        Some((start, why)) => notes.left(&format!("[{start}]"), *why, ""),
        None => notes.left(&format!("[{name}]"), "no section of supervisord's", ""),
    }
}

/// Services and groups, with the order of priorities.
fn assemble(mut made: Vec<Made>, groups: &[Group], notes: Notes, walk: &mut Walk<'_>) -> Draft {
    order::by_priority(&mut made);
    let mut draft = Draft { notes, ..Draft::default() };
    let mut taken: BTreeSet<String> =
        made.iter().flat_map(|made| &made.services).map(|service| service.name.clone()).collect();
    // What a program is a member as: its service, or the group of its numbered services.
    let mut member_of = BTreeMap::new();
    for made in made {
        let members: Vec<String> = made.services.iter().map(|s| s.name.clone()).collect();
        let own = if let [one] = members.as_slice() {
            one.clone()
        } else {
            let name = name_for(&made.program, &|name| taken.contains(name));
            taken.insert(name.clone());
            draft.groups.push((name.clone(), members));
            name
        };
        member_of.insert(made.program, own);
        draft.services.extend(made.services);
    }
    for group in groups {
        let mut members = Vec::new();
        for program in &group.programs {
            match member_of.remove(program) {
                Some(member) => members.push(member),
                None => {
                    let why = format!("there is no [program:{program}], or another group has it");
                    walk.error(group.span.clone(), why);
                }
            }
        }
        let name = name_for(&group.name, &|name| taken.contains(name));
        taken.insert(name.clone());
        draft.groups.push((name, members));
    }
    draft
}
