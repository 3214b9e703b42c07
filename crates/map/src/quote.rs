//! Values as words of a shell's command line, and back.

/// The value as one word of a POSIX shell: as it is when nothing in it means anything to a shell, else in single quotes (as
/// GNU parallel and shlex quote).
#[must_use]
pub fn quote(value: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(byte);
    if !value.is_empty() && value.iter().all(plain) {
        return value.to_vec();
    }
    let mut text = Vec::with_capacity(value.len() + 2);
    text.push(b'\'');
    for byte in value {
        if *byte == b'\'' {
            text.extend_from_slice(b"'\"'\"'");
        } else {
            text.push(*byte);
        }
    }
    text.push(b'\'');
    text
}

/// Words as one command line.
#[must_use]
pub fn line(words: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        text.extend(quote(word));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shell_reads_the_same_words(words in prop::collection::vec(prop::collection::vec(1..=255u8, 0..12), 1..6)) {
            let text = line(&words);
            let read: Vec<Vec<u8>> = shlex::bytes::split(&text).unwrap();
            prop_assert_eq!(read, words);
        }
    }

    #[test]
    fn plain_words_stay_plain() {
        assert_eq!(quote(b"a/b.c"), b"a/b.c");
        assert_eq!(quote(b""), b"''");
        assert_eq!(quote(b"it's"), b"'it'\"'\"'s'");
        assert_eq!(quote(b"x y"), b"'x y'");
    }
}
