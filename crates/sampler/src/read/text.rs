//! Numbers out of the kernel's texts.

/// The decimal number at the start of `text`, and what stands behind it. A sign is passed over with the number read as 0: no field that
/// is used here can be below zero but by a fault of the kernel's.
pub(crate) fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let length = digits.iter().position(|c| !c.is_ascii_digit()).unwrap_or(digits.len());
    if length == 0 {
        return None;
    }
    let value = digits[..length]
        .iter()
        .fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(*digit - b'0')));
    Some((if negative { 0 } else { value }, &digits[length..]))
}

/// `text` behind its leading blanks.
pub(crate) fn unspaced(text: &[u8]) -> &[u8] {
    let blank = text.iter().position(|c| !matches!(c, b' ' | b'\t')).unwrap_or(text.len());
    &text[blank..]
}

/// The number in the line that begins with `key`.
pub(crate) fn field(text: &[u8], key: &[u8]) -> Option<u64> {
    let line = text.split(|c| *c == b'\n').find_map(|line| line.strip_prefix(key))?;
    Some(number(unspaced(line))?.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_std_reads_them(value: u64, rest in "[ a-z]{0,4}") {
            let text = format!("{value}{rest}");
            prop_assert_eq!(number(text.as_bytes()), Some((value, rest.as_bytes())));
        }

        #[test]
        fn nothing_makes_it_fall(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = number(&text);
            prop_assert_eq!(field(&text, b"nothing begins so:"), None);
        }
    }

    #[test]
    fn fields_are_found_by_the_line_they_begin() {
        let text = b"Rss:   12 kB\nPss:\t 7 kB\nX: -3\n";
        assert_eq!(field(text, b"Pss:"), Some(7));
        assert_eq!(field(text, b"ss:"), None);
        assert_eq!(field(text, b"X:"), Some(0));
    }
}
