//! Writing the form.

use serde_json::{Number, Value};

use super::DEPTH_MAX;

/// A value has no such form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// A fraction, or beyond 64 bits: such numbers have many spellings.
    #[error("the number {0} is not an integer of 64 bits")]
    Number(String),
    /// Too deep.
    #[error("objects and arrays are more than {DEPTH_MAX} deep")]
    Depth,
}

/// Appends the value in its one form.
///
/// # Errors
/// A number that is not an integer of 64 bits; too deep.
pub fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    value_at(value, 0, out)
}

fn value_at(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => integer(number, out)?,
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            deeper(depth)?;
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                value_at(item, depth + 1, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            deeper(depth)?;
            // serde_json sorts its maps unless some crate of the build turns `preserve_order` on.
            let mut keys: Vec<(&String, &Value)> = map.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| key.as_bytes());
            out.push(b'{');
            for (at, (key, item)) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                value_at(item, depth + 1, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

const fn deeper(depth: usize) -> Result<(), Unwritable> {
    if depth >= DEPTH_MAX { Err(Unwritable::Depth) } else { Ok(()) }
}

fn integer(number: &Number, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    if number.is_u64() || number.is_i64() {
        out.extend_from_slice(number.to_string().as_bytes());
        Ok(())
    } else {
        Err(Unwritable::Number(number.to_string()))
    }
}

/// Appends a string with its quotes.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(text, out);
    out.push(b'"');
}

/// A text as the log writes it, without the quotes: what to show on a terminal.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escaped(text, &mut out);
    // Only printable ASCII is written.
    out.into_iter().map(char::from).collect()
}

fn escaped(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            ' '..='~' => out.push(c as u8),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(b"\\u");
                    crate::hash::push_hex(&unit.to_be_bytes(), out);
                }
            }
        }
    }
}
