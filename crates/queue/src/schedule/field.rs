//! One field of a cron expression: which of its values are chosen.

use super::cron::CronError;

/// What is special about each field.
#[derive(Debug)]
pub(super) struct Kind {
    /// As people call it.
    pub(super) name: &'static str,
    pub(super) min: u8,
    pub(super) max: u8,
    /// Names of values, from `first` on.
    words: &'static [&'static str],
    first: u8,
    /// A good example.
    example: &'static str,
}

pub(super) const SECOND: Kind = plain("second", 59, "*/10");
pub(super) const MINUTE: Kind = plain("minute", 59, "*/5");
pub(super) const HOUR: Kind = plain("hour", 23, "9-17");
pub(super) const DAY: Kind =
    Kind { name: "day of the month", min: 1, max: 31, words: &[], first: 0, example: "1,15" };
pub(super) const MONTH: Kind = Kind {
    name: "month",
    min: 1,
    max: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    first: 1,
    example: "jan-mar",
};
/// 7 is Sunday too.
pub(super) const WEEKDAY: Kind = Kind {
    name: "day of the week",
    min: 0,
    max: 7,
    words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    first: 0,
    example: "mon-fri",
};

const fn plain(name: &'static str, max: u8, example: &'static str) -> Kind {
    Kind { name, min: 0, max, words: &[], first: 0, example }
}

/// The chosen values of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    bits: u64,
    /// It begins with `*`.
    pub(super) star: bool,
}

impl Field {
    /// Only this value.
    pub(super) const fn only(value: u8) -> Self {
        Self { bits: 1 << value, star: false }
    }

    pub(super) const fn has(self, value: u8) -> bool {
        self.bits & (1 << value) != 0
    }

    /// The smallest chosen value that is at least `from`.
    pub(super) fn at_least(self, from: u8) -> Option<u8> {
        let rest = self.bits.checked_shr(u32::from(from))?;
        (rest != 0).then(|| from + rest.trailing_zeros() as u8)
    }

    /// The smallest chosen value.
    pub(super) fn first(self) -> u8 {
        self.bits.trailing_zeros() as u8
    }

    /// Reads a field; `at` is where it begins in the expression.
    pub(super) fn parse(text: &str, at: usize, kind: &Kind) -> Result<Self, CronError> {
        let mut bits = 0;
        let mut from = at;
        for item in text.split(',') {
            bits |= Item { text: item, at: from, kind }.parse()?;
            from += item.len() + 1;
        }
        if kind.max == 7 && bits & (1 << 7) != 0 {
            bits = (bits & !(1 << 7)) | 1;
        }
        Ok(Self { bits, star: text.starts_with('*') })
    }
}

/// One item of a field's list: `*`, `5`, `1-5`, each perhaps with `/step`.
struct Item<'a> {
    text: &'a str,
    at: usize,
    kind: &'a Kind,
}

impl Item<'_> {
    fn parse(&self) -> Result<u64, CronError> {
        let Kind { name, min, max, .. } = *self.kind;
        if self.text.is_empty() {
            return Err(self.wrong(self.text, format!("the {name} field has an empty entry")));
        }
        let (range, step) = match self.text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (self.text, None),
        };
        let (low, high) = if range == "*" {
            (min, if max == 7 { 6 } else { max })
        } else if let Some((low, high)) = range.split_once('-') {
            self.range(range, low, high)?
        } else {
            let low = self.value(range)?;
            (low, if step.is_some() { max.min(if max == 7 { 6 } else { max }) } else { low })
        };
        let step = step.map_or(Ok(1), |step| self.step(step))?;
        let chosen = (low..=high).step_by(usize::from(step));
        Ok(chosen.fold(0, |bits, value| bits | 1 << value))
    }

    fn range(&self, range: &str, low: &str, high: &str) -> Result<(u8, u8), CronError> {
        let Kind { name, min, max, .. } = *self.kind;
        let (low, mut high) = (self.value(low)?, self.value(high)?);
        if max == 7 && high == 0 && low > 0 {
            // `fri-sun`: a range may end with Sunday, which is 7 then.
            high = 7;
        }
        if low > high {
            let error = self.wrong(range, format!("the {name} range `{range}` runs backwards"));
            return Err(error.help(format!("write it as two ranges: `{low}-{max},{min}-{high}`")));
        }
        Ok((low, high))
    }

    fn step(&self, step: &str) -> Result<u8, CronError> {
        let Kind { name, min, max, .. } = *self.kind;
        match step.parse::<u64>() {
            Ok(0) | Err(_) => {
                Err(self.wrong(step, format!("`{step}` is not a step: it must be 1 or more")))
            }
            Ok(n) if n > u64::from(max - min) => {
                let why = format!("a step of {n} is longer than the {name} field ({min}-{max})");
                let help = match name {
                    "second" => format!("for real intervals write `@every {n}s`"),
                    "minute" => format!("for real intervals write `@every {n}m`"),
                    "hour" => format!("for real intervals write `@every {n}h`"),
                    _ => format!("choose a step below {}", max - min + 1),
                };
                Err(self.wrong(step, why).help(help))
            }
            Ok(n) => Ok(n as u8),
        }
    }

    fn value(&self, text: &str) -> Result<u8, CronError> {
        let Kind { name, min, max, words, first, .. } = *self.kind;
        let lower = text.to_ascii_lowercase();
        if let Some(at) = words.iter().position(|word| *word == lower) {
            return Ok(first + at as u8);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(n) if digits && (u64::from(min)..=u64::from(max)).contains(&n) => Ok(n as u8),
            Ok(_) if digits => {
                Err(self.wrong(text, format!("the {name} field takes {min} to {max}, not {text}")))
            }
            _ if text.contains(['L', 'W', '#', '?']) => Err(self
                .wrong(
                    text,
                    format!("`{text}`: `L`, `W`, `#` and `?` are not part of this grammar"),
                )
                .help(
                    "write `*` for `?`; for the last day push a task that checks the date".into(),
                )),
            _ => Err(self.wrong(text, format!("`{text}` means nothing in the {name} field"))),
        }
    }

    /// An error about a part of this item, with an example of the field.
    fn wrong(&self, part: &str, message: String) -> CronError {
        let inside = part.as_ptr() as usize - self.text.as_ptr() as usize;
        let at = self.at + inside;
        let example = self.kind.example;
        CronError::new(at..at + part.len(), message)
            .help(format!("the {} field is written like `{example}`", self.kind.name))
    }
}
