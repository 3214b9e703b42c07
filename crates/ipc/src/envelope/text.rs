//! Text out of JSON strings that may hold what a Rust string can't.

use std::borrow::Cow;

use serde::de::{self, Visitor};

/// The text of a JSON string, lone surrogates and all shown as U+FFFD; any other JSON value as its own text.
/// At most `max` bytes, cut at a character.
#[must_use]
pub fn lossy(json: &str, max: usize) -> String {
    struct Bytes;
    impl<'de> Visitor<'de> for Bytes {
        type Value = Cow<'de, [u8]>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON string")
        }

        fn visit_borrowed_bytes<E: de::Error>(self, v: &'de [u8]) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(v))
        }

        fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Self::Value, E> {
            Ok(Cow::Owned(v.to_vec()))
        }
    }
    // serde_json hands a string asked for as bytes over without the surrogate check (Deserializer::deserialize_bytes).
    let mut reader = serde_json::Deserializer::from_str(json);
    let text = if json.starts_with('"') {
        match de::Deserializer::deserialize_bytes(&mut reader, Bytes) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => json.to_owned(),
        }
    } else {
        json.to_owned()
    };
    cut(text, max)
}

/// Shortens a text to `max` bytes at a character boundary.
fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_do_not_lose_the_text() {
        assert_eq!(lossy("\"a\\n\\u00e9\"", 100), "a\né");
        assert_eq!(lossy("{\"a\":1}", 100), "{\"a\":1}");
        assert_eq!(lossy("\"ééé\"", 3), "é…");
        let odd = lossy(r#""x\ud800y""#, 100);
        assert!(odd.starts_with('x') && odd.ends_with('y') && odd.contains('\u{fffd}'), "{odd}");
    }
}
