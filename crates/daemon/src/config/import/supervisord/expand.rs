//! `%(name)s`, `%(process_num)02d` and `%%` in values: Python's formatting, as far as supervisord uses it.

use std::collections::BTreeMap;

use super::super::toml_text::variable;

/// What can be named in a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// `here`, `program_name`, `group_name`, …
    pub(super) texts: BTreeMap<&'static str, String>,
    /// `process_num`, `numprocs`.
    pub(super) numbers: BTreeMap<&'static str, u32>,
    /// `[supervisord] environment`: known now, and what `ENV_X` means first.
    pub(super) own_env: BTreeMap<String, String>,
    /// The environment of this process, for values that must be known now.
    pub(super) env: BTreeMap<String, String>,
}

/// When a variable of the environment is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// At each `up`: `${X}` is written, so that no secret gets into the file.
    AtUp,
    /// Now: the value is a number, a name or a path that has to be known.
    Now,
}

/// The value with everything put in.
///
/// # Errors
/// A sentence about what can't be expanded.
pub(super) fn expand(text: &str, names: &Names, when: When) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let inner = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
            .ok_or_else(|| format!("a plain `%` is written `%%` (in `{text}`)"))?;
        let (name, after) = inner;
        let end = after
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(|| format!("`%({name})` needs an `s` or `d` after it"))?;
        let (format, kind) = (&after[..end], &after[end..=end]);
        rest = &after[end + 1..];
        // `$` before `${…}` would escape it.
        let when = if out.ends_with('$') { When::Now } else { when };
        out.push_str(&one(name, format, kind, names, when)?);
    }
    out.push_str(rest);
    Ok(out)
}

fn one(name: &str, format: &str, kind: &str, names: &Names, when: When) -> Result<String, String> {
    if !["s", "d", "i"].contains(&kind) {
        return Err(format!("`%({name}){format}{kind}` is no format of supervisord's"));
    }
    if let Some(number) = names.numbers.get(name) {
        return Ok(padded(&number.to_string(), format));
    }
    if let Some(text) = names.texts.get(name) {
        return Ok(text.clone());
    }
    let Some(var) = name.strip_prefix("ENV_") else {
        return Err(format!("`%({name}){kind}` is not known here"));
    };
    if let Some(value) = names.own_env.get(var) {
        return Ok(value.clone());
    }
    let proper = !var.is_empty() && var.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if when == When::AtUp && proper {
        return Ok(variable(var));
    }
    names
        .env
        .get(var)
        .cloned()
        .ok_or_else(|| format!("the environment variable `{var}` is not set"))
}

/// `02` pads with zeros, `2` with blanks.
fn padded(number: &str, format: &str) -> String {
    /// Nobody numbers more processes than this has digits.
    const WIDTH_MAX: usize = 20;
    let width = format.parse::<usize>().unwrap_or(0).min(WIDTH_MAX);
    if format.starts_with('0') { format!("{number:0>width$}") } else { format!("{number:>width$}") }
}

/// `KEY="a b",OTHER='c',PLAIN=d`, over lines if wanted.
///
/// # Errors
/// A sentence about what is not understood.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut list = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| {
            format!("expected KEY=\"value\" pairs with commas between, found `{rest}`")
        })?;
        let (name, after) = (name.trim(), after.trim_start());
        if name.is_empty() || name.contains([',', '"', '\'']) || name.contains(char::is_whitespace)
        {
            return Err(format!("`{name}` can't be the name of an environment variable"));
        }
        let quote = after.chars().next().filter(|c| ['"', '\''].contains(c));
        let (value, after) = match quote {
            Some(quote) => after[1..]
                .split_once(quote)
                .ok_or_else(|| format!("the quote of `{name}` is never closed"))?,
            None => {
                let end = after.find([',', '\n']).unwrap_or(after.len());
                (after[..end].trim_end(), &after[end..])
            }
        };
        list.push((name.to_owned(), value.to_owned()));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Ok(list)
}
