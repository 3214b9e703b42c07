//! `[include] files = …`: patterns of `*`, `?` and `[…]`, relative to the file, read in the order of their names.

use std::path::{Path, PathBuf};

use super::super::super::model::SourceFile;
use super::super::super::walk::Walk;
use super::super::draft::Notes;
use super::expand::{Names, When, expand};
use super::ini::{self, Section};

/// A pattern that matches more is a mistake.
const FILES_MAX: usize = 1_000;
/// As of the file itself.
const SIZE_MAX: u64 = 4 << 20;

/// The sections of the file and all it includes. Included files include nothing, as in supervisord.
pub(super) fn read(
    text: &str,
    names: &Names,
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
    notes: &mut Notes,
) -> Vec<Section> {
    let (mut sections, wrong) = ini::parse(text);
    for span in wrong {
        walk.error(span, "expected `[section]` or `key = value`");
    }
    let patterns = sections
        .iter()
        .find(|section| section.name == "include")
        .and_then(|section| section.get("files"))
        .cloned();
    let Some(patterns) = patterns else { return sections };
    let expanded = match expand(&patterns.value, names, When::Now) {
        Ok(expanded) => expanded,
        Err(why) => {
            walk.error(patterns.span, why);
            return sections;
        }
    };
    for pattern in expanded.split_whitespace() {
        let files = matching(&walk.dir.join(pattern));
        if files.is_empty() {
            notes.left("[include]", format!("`{pattern}` matches no file"), "");
        }
        for file in files {
            match included(&file) {
                Ok((source, found)) => {
                    sources.push(source);
                    merge(&mut sections, found, patterns.span.clone());
                }
                Err(why) => {
                    walk.error(patterns.span.clone(), format!("{}: {why}", file.display()));
                }
            }
        }
    }
    sections
}

fn included(file: &Path) -> Result<(SourceFile, Vec<Section>), String> {
    let meta = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if !meta.is_file() || meta.len() > SIZE_MAX {
        return Err("expected a text file under 4 MiB".into());
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let (sections, wrong) = ini::parse(&text);
    if let Some(first) = wrong.first() {
        let line = text[..first.start].matches('\n').count() + 1;
        return Err(format!("line {line}: expected `[section]` or `key = value`"));
    }
    Ok((SourceFile::of(file, text.as_bytes()), sections))
}

/// Findings about what was included point at the line that includes it.
fn merge(sections: &mut Vec<Section>, found: Vec<Section>, place: std::ops::Range<usize>) {
    for mut section in found.into_iter().filter(|section| section.name != "include") {
        section.span = place.clone();
        for entry in &mut section.entries {
            entry.span = place.clone();
        }
        match sections.iter_mut().find(|known| known.name == section.name) {
            Some(known) => known.entries.append(&mut section.entries),
            None => sections.push(section),
        }
    }
}

/// The files a pattern names, sorted.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        let Ok(regex) = regex::Regex::new(&wildcard(&text)) else { return Vec::new() };
        let mut deeper: Vec<PathBuf> = found
            .iter()
            .filter_map(|dir| std::fs::read_dir(dir).ok())
            .flat_map(|entries| entries.filter_map(Result::ok))
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                regex.is_match(&name) && (!name.starts_with('.') || text.starts_with('.'))
            })
            .map(|entry| entry.path())
            .take(FILES_MAX)
            .collect();
        deeper.sort();
        found = deeper;
    }
    found.retain(|path| path.exists());
    found
}

/// A pattern of glob(7) as a regular expression.
fn wildcard(pattern: &str) -> String {
    let mut out = String::from("^");
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => match rest.as_str().split_once(']') {
                Some((set, after)) => {
                    let (no, set) = set.strip_prefix('!').map_or(("", set), |set| ("^", set));
                    out.push_str(&format!("[{no}{}]", set.replace('\\', "\\\\")));
                    rest = after.chars();
                }
                None => out.push_str("\\["),
            },
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    out.push('$');
    out
}
