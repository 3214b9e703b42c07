//! One name for equal inputs: a digest of queue, kind and payload that does not depend on white space, the order of an
//! object's keys, or how a string is escaped.
//!
//! Numbers count as they are written: `1` and `1.0` are two inputs. Taking them for equal would need arithmetic that
//! loses digits, and then two large numbers would share a result.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Bytes of the digest kept: collisions by chance or on purpose are out of reach, and rows stay short.
const KEPT: usize = 20;

/// Stands for a queue, a kind and a payload. Text that is not JSON counts as it is.
#[must_use]
pub fn digest(queue: &str, kind: &str, payload: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [queue, kind] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    match serde_json::from_slice::<&RawValue>(payload) {
        Ok(value) => feed(&mut hash, value),
        Err(_) => hash.update(payload),
    }
    hash.finalize()[..KEPT].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Depth is bounded by the parser's own bound, which every payload has passed.
fn feed(hash: &mut Sha256, value: &RawValue) {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
            Ok(object) => {
                hash.update(b"{");
                for (key, value) in object {
                    string(hash, &key);
                    feed(hash, value);
                }
                hash.update(b"}");
            }
            Err(_) => hash.update(text),
        },
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(list) => {
                hash.update(b"[");
                for value in list {
                    feed(hash, value);
                }
                hash.update(b"]");
            }
            Err(_) => hash.update(text),
        },
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(own) => string(hash, &own),
            Err(_) => hash.update(text),
        },
        _ => {
            hash.update(b"n");
            hash.update(text.trim());
            hash.update(b";");
        }
    }
}

fn string(hash: &mut Sha256, text: &str) {
    hash.update(b"s");
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(payload: &str) -> String {
        digest("q", "k", payload.as_bytes())
    }

    #[test]
    fn equal_inputs_have_one_name() {
        assert_eq!(of(r#"{"a":1,"b":[true,null]}"#), of("{ \"b\" : [true, null],\n\"a\":1}"));
        assert_eq!(of(r#""\u0041""#), of(r#""A""#));
    }

    #[test]
    fn different_inputs_have_different_names() {
        let all = [
            "1",
            "1.0",
            "\"1\"",
            "[1]",
            "[[1]]",
            "[1,2]",
            "[12]",
            "{\"a\":1}",
            "{\"a\":[1]}",
            "{\"a\":{\"b\":1}}",
            "{\"a\":{},\"b\":1}",
            "null",
            "\"null\"",
            "[]",
            "{}",
            "\"\"",
            "12345678901234567890.10",
            "12345678901234567890.11",
            "[\"a\",\"b\"]",
            "[\"ab\"]",
        ];
        let names: std::collections::BTreeSet<_> = all.iter().map(|text| of(text)).collect();
        assert_eq!(names.len(), all.len());
        assert_ne!(digest("q", "k", b"1"), digest("qk", "", b"1"));
        assert_ne!(digest("q", "k", b"1"), digest("q", "l", b"1"));
    }
}
