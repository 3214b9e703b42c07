//! supervisord's files: Python's RawConfigParser with `;` and `#` comments after blanks, as supervisor sets it up.

use std::ops::Range;

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In small letters, as supervisord reads it.
    pub(super) key: String,
    /// Lines joined by newlines.
    pub(super) value: String,
    /// Of the first line.
    pub(super) span: Range<usize>,
}

/// One `[name]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) span: Range<usize>,
    pub(super) entries: Vec<Entry>,
}

impl Section {
    /// The last value of a key: a later line wins.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }
}

/// The sections in their order, one that is there twice merged; and the lines that are neither.
pub(super) fn parse(text: &str) -> (Vec<Section>, Vec<Range<usize>>) {
    let (mut sections, mut wrong) = (Vec::<Section>::new(), Vec::new());
    let (mut current, mut at) = (None, 0);
    // Depth of the key whose value may go on in deeper lines.
    let mut key_depth = None;
    for line in text.split_inclusive('\n') {
        let span = at..at + line.trim_end().len();
        at += line.len();
        let bare = without_comment(line.trim_end().trim_start_matches('\u{feff}'));
        let trimmed = bare.trim();
        if trimmed.is_empty() {
            continue;
        }
        let depth = bare.len() - bare.trim_start().len();
        let section = current.and_then(|index: usize| sections.get_mut(index));
        if let (Some(section), Some(_)) = (section, key_depth.filter(|key| depth > *key))
            && let Some(entry) = section.entries.last_mut()
        {
            entry.value.push('\n');
            entry.value.push_str(trimmed);
            continue;
        }
        key_depth = None;
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let known = sections.iter().position(|section| section.name == name);
            current = known.or(Some(sections.len()));
            if known.is_none() {
                sections.push(Section { name: name.to_owned(), span, entries: Vec::new() });
            }
            continue;
        }
        let split = trimmed.find(['=', ':']).filter(|end| *end > 0);
        match (split, current.and_then(|index| sections.get_mut(index))) {
            (Some(end), Some(section)) => {
                key_depth = Some(depth);
                section.entries.push(Entry {
                    key: trimmed[..end].trim().to_ascii_lowercase(),
                    value: trimmed[end + 1..].trim().to_owned(),
                    span,
                });
            }
            _ => wrong.push(span),
        }
    }
    (sections, wrong)
}

/// `;` and `#` begin a comment at the line's begin and after blanks.
fn without_comment(line: &str) -> &str {
    let mut blank_before = true;
    for (at, c) in line.char_indices() {
        if blank_before && (c == ';' || c == '#') {
            return &line[..at];
        }
        blank_before = c.is_whitespace();
    }
    line
}
