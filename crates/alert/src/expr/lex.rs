//! Text to tokens, each with its place.

use std::ops::Range;

use ganger_core::{Dur, Size};

use super::{ExprError, Unit};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Word(String),
    Number(f64, Unit),
    Text(String),
    Sign(&'static str),
    End,
}

/// Longest first.
const SIGNS: [&str; 18] =
    ["<=", ">=", "==", "!=", "<", ">", "(", ")", "{", "}", ",", ":", "=", "+", "-", "*", "/", "#"];

pub(crate) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, ExprError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = token(text, at, c)?;
        found.push((token, at..at + length));
        at += length;
    }
    found.push((Token::End, text.len()..text.len()));
    Ok(found)
}

fn token(text: &str, at: usize, c: char) -> Result<(Token, usize), ExprError> {
    let rest = &text[at..];
    if c.is_ascii_digit() {
        return number(rest, at);
    }
    if c.is_ascii_alphabetic() || c == '_' {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let length = rest.find(|c: char| !in_word(c)).unwrap_or(rest.len());
        return Ok((Token::Word(rest[..length].to_owned()), length));
    }
    if c == '\'' || c == '"' {
        let end = rest[1..].find(c).ok_or_else(|| {
            ExprError::new(at..text.len(), "this text has no end")
                .help(format!("close it with {c}"))
        })?;
        return Ok((Token::Text(rest[1..=end].to_owned()), end + 2));
    }
    let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
    let Some(sign) = sign else {
        let help = match c {
            '&' => "write `and`",
            '|' => "write `or`",
            '!' => "write `not`",
            _ => "conditions look like p95(latency, 5m) > 2s and rss > 512MiB",
        };
        let span = at..at + c.len_utf8();
        return Err(ExprError::new(span, format!("`{c}` means nothing here")).help(help));
    };
    Ok((Token::Sign(sign), sign.len()))
}

/// Digits with the letters that follow at once: `5m`, `1h30m`, `512MiB`, `80%`, `1.5`.
fn number(rest: &str, at: usize) -> Result<(Token, usize), ExprError> {
    let in_number = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '%';
    let length = rest.find(|c: char| !in_number(c)).unwrap_or(rest.len());
    let text = &rest[..length];
    let found = if let Some(percent) = text.strip_suffix('%') {
        percent.parse().ok().map(|n: f64| (n / 100.0, Unit::Ratio))
    } else if let Ok(plain) = text.parse::<f64>() {
        Some((plain, Unit::Plain))
    } else if let Ok(time) = text.parse::<Dur>() {
        Some((time.0.as_secs_f64(), Unit::Seconds))
    } else {
        text.parse::<Size>().ok().map(|size| (size.0 as f64, Unit::Bytes))
    };
    // `1e5` is read by f64: too many ways to write a number, but `inf` and `nan` begin with no digit.
    match found.filter(|(n, _)| n.is_finite()) {
        Some((n, unit)) => Ok((Token::Number(n, unit), length)),
        None => Err(ExprError::new(at..at + length, format!("`{text}` is no number with a unit"))
            .help("units are ms s m h d, KiB MiB GiB and %")),
    }
}
