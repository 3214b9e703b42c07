//! Enough of Rust's lexical rules to tell code from comments, strings and test modules.

/// The source with comments and the insides of strings and characters blanked; lines stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped_end(bytes, at);
        if end > at {
            out.extend(source[at..end].chars().filter(|c| *c == '\n'));
            out.push(' ');
            at = end;
        } else {
            let c = source[at..].chars().next().unwrap();
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

/// Where the comment, string or character literal that starts at `at` ends; `at` itself if none does.
fn skipped_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return find(bytes, at + 2, b"*/");
    }
    if rest[0] == b'"' {
        return string_end(bytes, at + 1);
    }
    if (rest.starts_with(b"b\"") || rest.starts_with(b"c\"")) && !word_before {
        return string_end(bytes, at + 2);
    }
    let raw = usize::from(rest.starts_with(b"br")) + 1;
    if (rest[0] == b'r' || rest.starts_with(b"br")) && !word_before {
        let hashes = rest[raw..].iter().take_while(|b| **b == b'#').count();
        if rest.get(raw + hashes) == Some(&b'"') {
            let mut close = vec![b'"'];
            close.resize(hashes + 1, b'#');
            return find(bytes, at + raw + hashes + 1, &close);
        }
    }
    if rest[0] == b'\'' {
        return char_end(bytes, at);
    }
    at
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    bytes[from..]
        .windows(what.len())
        .position(|window| window == what)
        .map_or(bytes.len(), |n| from + n + what.len())
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// `'x'` and `'\n'` are characters; `'static` is not.
fn char_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return find(bytes, at + 3, b"'");
    }
    let close = bytes[at + 1..].iter().take(6).position(|b| *b == b'\'');
    match close {
        Some(n) if n > 0 && (n == 1 || bytes[at + 1] >= 0x80) => at + n + 2,
        _ => at,
    }
}

/// Splits code into what ships and what is compiled for tests only (`#[cfg(test)] mod x { … }` and `#[cfg(test)]` items).
pub(crate) fn split_tests(code: &str) -> (String, String) {
    let (mut product, mut tests) = (String::new(), String::new());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        product.push_str(&rest[..at]);
        let tail = &rest[at..];
        let end = item_end(tail);
        tests.push_str(&tail[..end]);
        tests.push('\n');
        rest = &tail[end..];
    }
    product.push_str(rest);
    (product, tests)
}

/// Where the item at the start of `code` ends: at its `;`, or behind its closing brace.
fn item_end(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_and_strings_are_not_code() {
    let source = "let a = \"unsafe { \\\" }\"; // unsafe\nlet b = r#\"x.unwrap() \"y\" \"#; let c = '\"'; fn f<'a>() {}\n";
    let code = code_only(source);
    assert!(!code.contains("unsafe") && !code.contains("unwrap"), "{code}");
    assert!(code.contains("fn f<'a>() {}"), "{code}");
    assert_eq!(code.lines().count(), source.lines().count());
}

#[test]
fn test_modules_are_split_off() {
    let (product, tests) =
        split_tests("fn a() {}\n#[cfg(test)]\nmod tests { fn b() { x(); } }\nfn c() {}\n");
    assert!(product.contains("fn a") && product.contains("fn c") && !product.contains("fn b"));
    assert!(tests.contains("fn b"));
}
