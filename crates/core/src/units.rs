//! Times and sizes as users write them: `250ms`, `1h30m`, `200ms..30s`, `64M`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is no time or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}; write it like {example}")]
pub struct UnitError {
    given: String,
    what: &'static str,
    example: &'static str,
}

/// A duration written with units: `ms`, `s`, `m`, `h`, `d`, largest first, e.g. `1h30m`, `1.5s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Dur(pub Duration);

/// One hundred years: longer spans are typing errors, and they would overflow clocks.
const DUR_MAX_S: f64 = 100.0 * 366.0 * 86_400.0;

impl FromStr for Dur {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        let fail = || UnitError {
            given: s.chars().take(40).collect(),
            what: "a duration",
            example: "250ms, 30s, 1h30m",
        };
        if s == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut rest = s.trim();
        let mut seconds = 0f64;
        let mut last_unit = f64::INFINITY;
        if rest.is_empty() {
            return Err(fail());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fail)?;
            let number: f64 = rest[..digits].parse().map_err(|_| fail())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit = match &rest[..letters] {
                "us" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return Err(fail()),
            };
            if unit >= last_unit {
                return Err(fail());
            }
            last_unit = unit;
            seconds += number * unit;
            rest = &rest[letters..];
        }
        if seconds > DUR_MAX_S {
            return Err(fail());
        }
        Ok(Self(Duration::from_nanos((seconds * 1e9).round() as u64)))
    }
}

impl fmt::Display for Dur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut micros = self.0.as_micros();
        if micros == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        for (unit, size) in [
            ("d", 86_400_000_000),
            ("h", 3_600_000_000),
            ("m", 60_000_000),
            ("s", 1_000_000),
            ("ms", 1_000),
            ("us", 1),
        ] {
            let n = micros / size;
            if n > 0 {
                text.push_str(&format!("{n}{unit}"));
                micros -= n * size;
            }
        }
        f.pad(&text)
    }
}

/// A span from a first to a largest duration: `200ms..30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DurRange {
    /// Where it begins.
    pub from: Dur,
    /// Where it stops growing; never less than `from`.
    pub to: Dur,
}

impl FromStr for DurRange {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        let fail = || UnitError {
            given: s.chars().take(40).collect(),
            what: "a range of durations",
            example: "200ms..30s",
        };
        let (from, to) = s.split_once("..").unwrap_or((s, s));
        let range =
            Self { from: from.parse().map_err(|_| fail())?, to: to.parse().map_err(|_| fail())? };
        if range.to < range.from { Err(fail()) } else { Ok(range) }
    }
}

impl fmt::Display for DurRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

/// A number of bytes: `512`, `64K`, `64KiB`, `100MB`, `2G`. Always powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 5] =
    [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1)];

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        let fail = || UnitError {
            given: s.chars().take(40).collect(),
            what: "a size",
            example: "64M, 512KiB, 2G (powers of 1024)",
        };
        let text = s.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..digits].parse().map_err(|_| fail())?;
        let unit = text[digits..].trim().to_ascii_uppercase();
        let unit = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fail)?;
        let bytes = number * *factor as f64;
        if bytes > (1u64 << 60) as f64 {
            return Err(fail());
        }
        Ok(Self(bytes.round() as u64))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in SIZE_UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                let suffix = if name.is_empty() { "B" } else { "iB" };
                return f.pad(&format!("{}{name}{suffix}", self.0 / factor));
            }
        }
        f.pad("0B")
    }
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

as_text!(Dur, DurRange, Size);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        let ms = |n| Ok(Dur(Duration::from_millis(n)));
        assert_eq!("250ms".parse(), ms(250));
        assert_eq!("1.5s".parse(), ms(1_500));
        assert_eq!("1h30m".parse(), ms(5_400_000));
        assert_eq!("0".parse(), ms(0));
        for wrong in ["", "5", "s", "1s1s", "1m1h", "-1s", "1e3s", "1w", "99999999d", "1.2.3s"] {
            assert!(wrong.parse::<Dur>().is_err(), "{wrong}");
        }
        assert!("30s..1s".parse::<DurRange>().is_err());
        assert_eq!("1s".parse::<DurRange>().unwrap().to_string(), "1s..1s");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("64M", 64 << 20), ("64MiB", 64 << 20), ("100mb", 100 << 20), ("7", 7), ("1.5K", 1536)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for wrong in ["", "M", "-1", "1X", "9999999T"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(micros in 0u64..(1 << 50), bytes in 0u64..(1 << 53)) {
            let dur = Dur(Duration::from_micros(micros));
            let back = dur.to_string().parse::<Dur>().unwrap().0.as_micros();
            // Seconds pass through an f64: one microsecond of rounding is possible on spans of years.
            prop_assert!(back.abs_diff(dur.0.as_micros()) <= 1);
            prop_assert_eq!(Size(bytes).to_string().parse::<Size>(), Ok(Size(bytes)));
        }
    }
}
