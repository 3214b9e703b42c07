//! Raw mode: scripts written for `child_process.fork()` and programs that answer one JSON line with another.
//!
//! Out goes the bare payload. What comes back is the result, if a task is open and if it is neither `"ready"` nor a message of
//! Node's own (`{"cmd":"NODE_…"}`). One task at a time: there is no id to tell two answers apart.

use serde_json::value::RawValue;

use crate::envelope::{Garbage, Internal, internal_of, trim};

/// One line of a worker in raw mode.
#[derive(Debug)]
pub enum RawMessage<'a> {
    /// The string `ready`: a readiness signal as PM2 knows it, never a result.
    Ready,
    /// Node's own traffic, never shown to users.
    Internal(Internal),
    /// Anything else: the result of the open task, if one is open.
    Value(&'a RawValue),
}

/// Reads one line. `None` for a blank one.
///
/// # Errors
/// [`Garbage`] when the line is not JSON.
pub fn parse(line: &[u8]) -> Result<Option<RawMessage<'_>>, Garbage> {
    let line = trim(line);
    if line.is_empty() {
        return Ok(None);
    }
    let value: &RawValue =
        serde_json::from_slice(line).map_err(|e| Garbage::new(line, &e.to_string()))?;
    if value.get() == r#""ready""# {
        return Ok(Some(RawMessage::Ready));
    }
    Ok(Some(internal_of(value).map_or(RawMessage::Value(value), RawMessage::Internal)))
}

/// Appends a task in raw form: the payload and a newline.
pub fn put_payload(out: &mut Vec<u8>, payload: &[u8]) {
    crate::envelope::put_one_line(out, payload);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_json_value_is_a_result_but_the_reserved_ones() {
        for text in
            ["1", "null", "\"done\"", "[1,2]", "{\"cmd\":\"NODE\"}", "\"\\ud800\"", "{\"cmd\":7}"]
        {
            let got = parse(text.as_bytes()).unwrap();
            assert!(matches!(got, Some(RawMessage::Value(v)) if v.get() == text), "{text}");
        }
        assert!(matches!(parse(b"\"ready\"").unwrap(), Some(RawMessage::Ready)));
        assert!(matches!(
            parse(b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\"}").unwrap(),
            Some(RawMessage::Internal(Internal::Handle))
        ));
        assert!(matches!(
            parse(b"\x02{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\"}").unwrap(),
            Some(RawMessage::Internal(Internal::Other))
        ));
        assert!(parse(b" \r").unwrap().is_none());
        assert!(parse(b"Listening on 3000").unwrap_err().to_string().contains("Listening on 3000"));
    }

    #[test]
    fn a_payload_written_on_several_lines_goes_out_as_one() {
        let mut out = Vec::new();
        put_payload(&mut out, b"{\n  \"a\": \"x\\ny\"\n}");
        assert_eq!(out, b"{   \"a\": \"x\\ny\" }\n");
    }
}
