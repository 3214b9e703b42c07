//! `.env` files: `NAME=value` lines, `#` comments, `export`, quotes. No interpolation: what stands there is meant.

/// A line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(super) struct EnvFileError {
    line: usize,
    why: &'static str,
}

/// The variables in the order of the file.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, EnvFileError> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let fail = |why| EnvFileError { line: at + 1, why };
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or_else(|| fail("expected NAME=value"))?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
            return Err(fail("the name before `=` is not one"));
        }
        let mut value = value.trim_start().to_owned();
        if let Some(quote) = value.chars().next().filter(|c| ['"', '\''].contains(c)) {
            // A quoted value may go on over lines.
            while closing(&value, quote).is_none() {
                let (_, next) = lines.next().ok_or_else(|| fail("the quote is never closed"))?;
                value.push('\n');
                value.push_str(next);
            }
            let end = closing(&value, quote).unwrap_or(value.len());
            pairs.push((name.to_owned(), unquote(&value[1..end], quote)));
        } else {
            let bare = value.find(" #").map_or(value.as_str(), |at| &value[..at]);
            pairs.push((name.to_owned(), bare.trim_end().to_owned()));
        }
    }
    Ok(pairs)
}

/// Where the opening quote at 0 is closed.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, c)| {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return Some(at);
        }
        None
    })
}

fn unquote(text: &str, quote: char) -> String {
    if quote == '\'' {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, false) => out.push(c),
            _ => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms() {
        let text =
            "# c\nA=1\nexport B = two # not this\nC=\"x\\n\\\"y\" # c\nD='$A #'\nE=\nF=\"1\n2\"\n";
        let pairs = parse(text).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [("A", "1"), ("B", "two"), ("C", "x\n\"y"), ("D", "$A #"), ("E", ""), ("F", "1\n2")]
        );
    }

    #[test]
    fn wrong_lines_are_named() {
        assert_eq!(parse("A=1\nnothing").unwrap_err().to_string(), "line 2: expected NAME=value");
        assert_eq!(parse("A='x").unwrap_err().to_string(), "line 1: the quote is never closed");
    }
}
