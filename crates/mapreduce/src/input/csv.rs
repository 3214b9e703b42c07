//! Lines of CSV. Quotes of a well-formed file come in pairs (a doubled quote is two), so a byte stands within quotes
//! exactly when an odd number of them stands before it.

use memchr::{memchr, memchr_iter, memchr2};

/// The first byte behind a newline outside of quotes.
pub(super) fn start(bytes: &[u8], quoted: &mut bool) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = next(&bytes[at..], *quoted) {
        at += found + 1;
        if bytes[at - 1] == b'\n' {
            return Some(at);
        }
        *quoted = !*quoted;
    }
    None
}

/// Behind the last newline outside of quotes; `bytes` start outside of them.
pub(super) fn cut(bytes: &[u8]) -> usize {
    let odd = |bytes: &[u8]| memchr_iter(b'"', bytes).count() % 2 == 1;
    let mut quoted = odd(bytes);
    let mut end = bytes.len();
    // From the end: the state is known there, and a newline is near.
    while let Some(at) = memchr::memrchr2(b'"', b'\n', &bytes[..end]) {
        if bytes[at] == b'"' {
            quoted = !quoted;
        } else if !quoted {
            return at + 1;
        }
        end = at;
    }
    0
}

/// Length of the first record of `rest`, and the way to the next.
pub(super) fn record(rest: &[u8]) -> (usize, usize) {
    let mut quoted = false;
    let step = start(rest, &mut quoted).unwrap_or(rest.len());
    let line = rest[..step].strip_suffix(b"\n").unwrap_or(&rest[..step]);
    (line.strip_suffix(b"\r").unwrap_or(line).len(), step)
}

/// Where in `bytes`, which end a file and start with a record, the record with the open quote starts.
pub(super) fn open_record(bytes: &[u8]) -> Option<usize> {
    let cut = cut(bytes);
    (memchr_iter(b'"', &bytes[cut..]).count() % 2 == 1).then_some(cut)
}

fn next(bytes: &[u8], quoted: bool) -> Option<usize> {
    if quoted { memchr(b'"', bytes) } else { memchr2(b'"', b'\n', bytes) }
}
