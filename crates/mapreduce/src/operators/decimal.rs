//! Numbers that are exact whatever the order they are added up in.
//!
//! Numbers are decimals with at most nine digits behind the point, kept as whole billionths in 128 bits: adding them up gives the same in any
//! order and any grouping, which floating point does not, so a job that was cut differently or ran again gives the same bytes.

/// Digits behind the point.
const DIGITS: usize = 9;
const ONE: i128 = 1_000_000_000;
/// Digits before the point: sums of 10^18 such numbers still fit.
const WHOLE_MAX: usize = 11;

/// An exact decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    /// 1.
    pub const ONE: Self = Self(ONE);

    /// `-12.5`, `+3`, `.25`; at most 11 digits before the point and 9 behind it, white space around it is passed over. `None` if it
    /// is anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (negative, digits) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, text),
        };
        let point = memchr::memchr(b'.', digits).unwrap_or(digits.len());
        let (whole, part) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
        if whole.len() > WHOLE_MAX || part.len() > DIGITS || whole.len() + part.len() == 0 {
            return None;
        }
        let mut value: i128 = 0;
        let zeros = std::iter::repeat_n(&b'0', DIGITS - part.len());
        for digit in whole.iter().chain(part).chain(zeros) {
            value = value * 10 + i128::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        Some(Self(if negative { -value } else { value }))
    }
}

impl std::ops::Add for Decimal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, value) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, part) = (value / ONE.unsigned_abs(), value % ONE.unsigned_abs());
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let part = format!("{part:09}");
        write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}
