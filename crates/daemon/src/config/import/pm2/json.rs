//! JSON as PM2 takes it: with comments and a comma after the last.

use serde_json::Value;

pub(super) fn parse(text: &str) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).or_else(|_| {
        let plain = without_comments(text);
        serde_json::from_str(&plain).map_err(|error| format!("this is not JSON: {error}"))
    })
}

/// Comments and last commas as blanks, so that places in messages stay.
fn without_comments(text: &str) -> String {
    let mut out: Vec<u8> = text.bytes().collect();
    let (mut at, mut comma) = (0, None);
    while let Some(&byte) = out.get(at) {
        match (byte, out.get(at + 1)) {
            (b'"', _) => {
                comma = None;
                at = string_end(&out, at);
                continue;
            }
            (b'/', Some(b'/')) => {
                let end = out[at..].iter().position(|b| *b == b'\n').map_or(out.len(), |n| at + n);
                blank(&mut out[at..end]);
            }
            (b'/', Some(b'*')) => {
                let close = out[at + 2..].windows(2).position(|two| two == b"*/");
                let end = close.map_or(out.len(), |n| at + n + 4);
                blank(&mut out[at..end]);
            }
            (b',', _) => comma = Some(at),
            (b'}' | b']', _) => {
                if let Some(place) = comma.take() {
                    out[place] = b' ';
                }
            }
            (other, _) if !other.is_ascii_whitespace() => comma = None,
            _ => {}
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Behind the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_last_commas() {
        let text = "// a\n{ /* b, */ \"apps\": [ { \"script\": \"a//b.js\", \"args\": [\"\\\"//\", ], }, // c\n ] }";
        let value = parse(text).unwrap();
        assert_eq!(value["apps"][0]["script"], "a//b.js");
        assert_eq!(value["apps"][0]["args"][0], "\"//");
        assert!(parse("{ \"a\": }").unwrap_err().contains("line 1 column 8"));
        assert!(parse("{ \"é\": 1, /* open").is_err());
    }
}
