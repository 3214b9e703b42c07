//! A value cut into columns, and trimmed.

use regex::bytes::Regex;

/// Which ends of a value lose their blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trim {
    /// None.
    #[default]
    No,
    /// The left.
    Left,
    /// The right.
    Right,
    /// Both.
    Both,
}

/// How each value of a source becomes a row's values.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// What stands between columns; one column when absent.
    pub separator: Option<Regex>,
    /// What is done to each column.
    pub trim: Trim,
}

impl Columns {
    /// The columns of a value.
    #[must_use]
    pub fn of(&self, value: Vec<u8>) -> Vec<Vec<u8>> {
        match &self.separator {
            None if self.trim == Trim::No => vec![value],
            None => vec![self.trimmed(&value)],
            Some(separator) => separator.split(&value).map(|column| self.trimmed(column)).collect(),
        }
    }

    fn trimmed(&self, value: &[u8]) -> Vec<u8> {
        let value = match self.trim {
            Trim::No => value,
            Trim::Left => value.trim_ascii_start(),
            Trim::Right => value.trim_ascii_end(),
            Trim::Both => value.trim_ascii(),
        };
        value.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_and_trimmed() {
        let comma = Some(Regex::new(",").unwrap());
        let columns = Columns { separator: comma, trim: Trim::Both };
        assert_eq!(columns.of(b"a , b,c ".to_vec()), [b"a", b"b", b"c"]);
        let left = Columns { separator: None, trim: Trim::Left };
        assert_eq!(left.of(b" a ".to_vec()), [b"a "]);
        assert_eq!(Columns::default().of(b" a,b".to_vec()), [b" a,b"]);
    }
}
