//! `${VAR}`, `${VAR:-default}` and `${VAR:?message}` inside strings; `$${` is a literal `${`.
//!
//! No templating language: nothing else is special, and what a variable holds is not looked at again.

use std::collections::BTreeMap;

/// What is wrong with a `${…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterpolateError {
    pub(super) message: String,
    pub(super) help: String,
}

pub(super) fn interpolate(
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<String, InterpolateError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or_else(|| InterpolateError {
            message: format!("`{}` is never closed", &rest[at..]),
            help: "close it with `}`, or write `$${` for a plain `${`".into(),
        })?;
        out.push_str(&lookup(&inner[..end], env)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn lookup(inner: &str, env: &BTreeMap<String, String>) -> Result<String, InterpolateError> {
    let (name, default, message) = if let Some((name, default)) = inner.split_once(":-") {
        (name, Some(default), None)
    } else if let Some((name, message)) = inner.split_once(":?") {
        (name, None, Some(message))
    } else {
        (inner, None, None)
    };
    let proper = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(proper) {
        return Err(InterpolateError {
            message: format!("`${{{inner}}}` does not name an environment variable"),
            help: "use ${VAR}, ${VAR:-default} or ${VAR:?message}; `$${` is a plain `${`".into(),
        });
    }
    // As in a shell, `:-` and `:?` take an empty variable for a missing one.
    let strict = default.is_some() || message.is_some();
    match (env.get(name).filter(|value| !strict || !value.is_empty()), default) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(InterpolateError {
            message: message.filter(|m| !m.is_empty()).map_or_else(
                || format!("the environment variable `{name}` is not set"),
                |message| format!("{name}: {message}"),
            ),
            help: format!("set it, or give a default: ${{{name}:-default}}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, String> {
        let env =
            BTreeMap::from([("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())]);
        interpolate(text, &env).map_err(|e| e.message)
    }

    #[test]
    fn variables_defaults_and_escapes() {
        assert_eq!(run("x${A}y${A}").as_deref(), Ok("x1y1"));
        assert_eq!(run("${B:-two}${EMPTY:-e}${EMPTY}").as_deref(), Ok("twoe"));
        assert_eq!(run("$A $ $${A}").as_deref(), Ok("$A $ ${A}"));
        assert_eq!(run("${B:?say it}").unwrap_err(), "B: say it");
        assert!(run("${B}").unwrap_err().contains("`B` is not set"));
        assert!(run("${A").unwrap_err().contains("never closed"));
        assert!(run("${a b}").unwrap_err().contains("does not name"));
    }
}
