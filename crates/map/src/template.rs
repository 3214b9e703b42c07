//! The command as a template: words with marks in them that stand for the values of a job.
//!
//! Without a shell each word stays one argument, whatever is in the values. A mark that stands for several values in the middle of a word ends
//! that word and begins the next, as it would on a shell's command line; with [`Many::Context`] the whole word is repeated instead.

use crate::path::Part;
use crate::quote::quote;

/// Of what a job is made: its values, number and slot.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// All values, one source after the other.
    pub values: &'a [Vec<u8>],
    /// `{#}`: from 1.
    pub seq: u64,
    /// `{%}`: from 1.
    pub slot: usize,
}

/// What a word becomes whose mark stands for several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Many {
    /// `p-{}-q` with a and b: `p-a` `b-q`.
    #[default]
    Words,
    /// `p-{}-q` with a and b: `p-a-q` `p-b-q`.
    Context,
}

/// A template that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No word at all.
    #[error("there is no command; write it after the options: ganger map -- gzip {{}}")]
    Empty,
    /// Perl in a mark.
    #[error(
        "{0} holds Perl, which is not supported; {{}}, {{.}}, {{/}}, {{//}}, {{/.}}, {{#}}, {{%}}, {{2}} and {{2/.}} are"
    )]
    Perl(String),
}

/// A command with marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    words: Vec<Vec<Piece>>,
    many: Many,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// All values.
    All(Part),
    /// One of them: from 1; below 0 from the end.
    At(i64, Part),
    Seq,
    Slot,
}

impl Template {
    /// Reads words. `names` are those of the values, for `{name}`; `mark` is what stands for all values (`{}`).
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn new(
        words: &[Vec<u8>],
        names: &[Vec<u8>],
        mark: &[u8],
        many: Many,
    ) -> Result<Self, TemplateError> {
        let words: Result<Vec<_>, _> = words.iter().map(|word| read(word, names, mark)).collect();
        let words = words?;
        if words.is_empty() { Err(TemplateError::Empty) } else { Ok(Self { words, many }) }
    }

    /// With `{}` as its last word if no mark in it stands for a value.
    #[must_use]
    pub fn with_values(mut self) -> Self {
        let valued = |piece: &Piece| matches!(piece, Piece::All(_) | Piece::At(..) | Piece::Seq);
        if !self.words.iter().flatten().any(valued) {
            self.words.push(vec![Piece::All(Part::Whole)]);
        }
        self
    }

    /// True when what it becomes depends on the number or the slot of a job, not on its values alone.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.words.iter().flatten().any(|piece| matches!(piece, Piece::Seq | Piece::Slot))
    }

    /// Its arguments for a job.
    #[must_use]
    pub fn words(&self, given: Given<'_>) -> Vec<Vec<u8>> {
        let mut all = Vec::with_capacity(self.words.len() + given.values.len());
        for word in &self.words {
            let repeated = self.many == Many::Context
                && given.values.len() > 1
                && word.iter().any(|piece| matches!(piece, Piece::All(_)));
            if repeated {
                for value in given.values {
                    let one = std::slice::from_ref(value);
                    all.extend(split(word, Given { values: one, ..given }, given.values, false));
                }
            } else {
                all.extend(split(word, given, given.values, false));
            }
        }
        all
    }

    /// Its text for a shell: what stands in the template is for the shell to read, what the marks stand for is quoted.
    #[must_use]
    pub fn shell(&self, given: Given<'_>) -> Vec<u8> {
        let quoted = Self { words: self.words.clone(), many: self.many };
        let mut text = Vec::new();
        for word in &quoted.words {
            let repeated = self.many == Many::Context
                && given.values.len() > 1
                && word.iter().any(|piece| matches!(piece, Piece::All(_)));
            let times: Vec<&[Vec<u8>]> = if repeated {
                given.values.iter().map(std::slice::from_ref).collect()
            } else {
                vec![given.values]
            };
            for values in times {
                for part in split(word, Given { values, ..given }, given.values, true) {
                    if !text.is_empty() {
                        text.push(b' ');
                    }
                    text.extend(part);
                }
            }
        }
        text
    }

    /// The same as one text without quoting, for tags.
    #[must_use]
    pub fn plain(&self, given: Given<'_>) -> Vec<u8> {
        self.words(given).join(&b' ')
    }
}

/// A word for values: several where a mark stands for several. `all` are the values that numbers count in.
fn split(word: &[Piece], given: Given<'_>, all: &[Vec<u8>], quoted: bool) -> Vec<Vec<u8>> {
    let shown = |value: Vec<u8>| if quoted { quote(&value) } else { value };
    let mut words = Vec::with_capacity(1);
    let mut word_now = Vec::new();
    for piece in word {
        match piece {
            Piece::Text(text) => word_now.extend_from_slice(text),
            Piece::Seq => word_now.extend(given.seq.to_string().into_bytes()),
            Piece::Slot => word_now.extend(given.slot.to_string().into_bytes()),
            Piece::At(number, part) => {
                if let Some(value) = at(all, *number) {
                    word_now.extend(shown(part.of(value)));
                }
            }
            Piece::All(part) => {
                for (index, value) in given.values.iter().enumerate() {
                    if index > 0 {
                        words.push(std::mem::take(&mut word_now));
                    }
                    word_now.extend(shown(part.of(value)));
                }
            }
        }
    }
    words.push(word_now);
    words
}

fn at(values: &[Vec<u8>], number: i64) -> Option<&Vec<u8>> {
    let distance = usize::try_from(number.unsigned_abs()).ok()?.checked_sub(1)?;
    if number > 0 { values.get(distance) } else { values.iter().rev().nth(distance) }
}

/// Cuts a word at its marks; braces that are none stay as they are.
fn read(word: &[u8], names: &[Vec<u8>], mark: &[u8]) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let found = if !mark.is_empty() && rest.starts_with(mark) {
            Some((Piece::All(Part::Whole), mark.len()))
        } else {
            braced(rest, names, mark != b"{}")?
        };
        if let Some((piece, length)) = found {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
            rest = &rest[length..];
        } else {
            text.push(rest[0]);
            rest = &rest[1..];
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// The mark in braces at the beginning, and its length.
fn braced(
    text: &[u8],
    names: &[Vec<u8>],
    other_mark: bool,
) -> Result<Option<(Piece, usize)>, TemplateError> {
    if text.first() != Some(&b'{') {
        return Ok(None);
    }
    let Some(end) = memchr::memchr(b'}', text) else { return Ok(None) };
    let inner = &text[1..end];
    if inner.first() == Some(&b'=') && inner.last() == Some(&b'=') && inner.len() > 1 {
        return Err(TemplateError::Perl(String::from_utf8_lossy(&text[..=end]).into_owned()));
    }
    let piece = match inner {
        b"#" => Some(Piece::Seq),
        b"%" => Some(Piece::Slot),
        _ => {
            let (part, name) = part_of(inner);
            if name.is_empty() {
                (!(other_mark && part == Part::Whole)).then_some(Piece::All(part))
            } else {
                let text = std::str::from_utf8(name).ok();
                let number = text.and_then(|text| text.parse::<i64>().ok()).filter(|n| *n != 0);
                let number = number.filter(|_| name[0] != b'+').or_else(|| named(name, names));
                number.map(|number| Piece::At(number, part))
            }
        }
    };
    Ok(piece.map(|piece| (piece, end + 1)))
}

fn named(name: &[u8], names: &[Vec<u8>]) -> Option<i64> {
    let index = names.iter().position(|known| known == name)?;
    i64::try_from(index + 1).ok()
}

/// The part at the end of a mark, and what stands before it.
fn part_of(inner: &[u8]) -> (Part, &[u8]) {
    let parts: [(&[u8], Part); 4] =
        [(b"/.", Part::Stem), (b"//", Part::Folder), (b"/", Part::Name), (b".", Part::NoExtension)];
    for (end, part) in parts {
        if let Some(name) = inner.strip_suffix(end) {
            return (part, name);
        }
    }
    (Part::Whole, inner)
}

#[cfg(test)]
mod tests;
