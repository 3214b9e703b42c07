//! Refusals in words: why, and the line of configuration that would allow it.

use crate::argv::{Compiled, Refused, Why};
use crate::catalog;
use crate::decision::{Code, Denied, HIDDEN};
use crate::model::Kind;
use crate::value::Mismatch;
use crate::veil::Veils;

/// Characters of an argument that a reason shows.
const SHOWN_MAX: usize = 80;

/// A refusal of the nearest rule, in words.
pub(crate) fn told(
    refused: &Refused<'_>,
    rule: &Compiled,
    program: &str,
    args: &[&str],
    veils: &Veils<'_>,
) -> Denied {
    let veiled = veils.from(args, refused.at);
    let (code, reason) = reason(refused, rule, veiled);
    let shown = args.get(refused.at).copied();
    let danger = shown.and_then(|text| catalog::danger_of_option(program, text));
    let reason = match danger {
        Some(danger) => format!("{reason}; it {}", danger.as_phrase()),
        None => reason,
    };
    Denied {
        rule: Some(rule.id.clone()),
        argument: shown.map(|_| refused.at),
        allow: allow(refused, args, veils),
        danger,
        ..Denied::new(code, reason)
    }
}

/// `veiled`: where in the argument something may be secret.
fn reason(refused: &Refused<'_>, rule: &Compiled, veiled: Option<usize>) -> (Code, String) {
    let mismatched = |kind, mismatch, text| mismatched(kind, mismatch, text, veiled.is_some());
    match refused.why {
        Why::Subcommand => {
            let words = rule.rule.subcommand.join(" ");
            (Code::Subcommand, format!("only `{words}` is allowed here"))
        }
        Why::UnknownOption(text) => {
            let name = option_name(text);
            let name = match veiled.filter(|from| *from < name.len()) {
                Some(from) => format!("{}{HIDDEN}", show(&name[..from])),
                None => show(name),
            };
            (Code::Option, format!("option {name} is not in the table"))
        }
        Why::FlagWithValue(name) => (Code::OptionForm, format!("`{name}` takes no value")),
        Why::Form(name) => {
            (Code::OptionForm, format!("`{name}` is not allowed with its value in this form"))
        }
        Why::NoValue(name) => (Code::OptionForm, format!("`{name}` needs a value")),
        Why::OptionValue(name, kind, mismatch, text) => {
            let (code, why) = mismatched(kind, mismatch, text);
            (code, format!("value of `{name}`: {why}"))
        }
        Why::OptionDash(name) => (
            Code::Dash,
            format!("a value of `{name}` that begins with a dash could be taken for an option"),
        ),
        Why::Repeated(name, most) => {
            (Code::OptionCount, format!("`{name}` may be given {most} times at most"))
        }
        Why::Missing(name) => (Code::OptionCount, format!("`{name}` must be given")),
        Why::Exclusive(one, other) => {
            (Code::OptionCount, format!("`{one}` and `{other}` exclude each other"))
        }
        Why::Operand(kind, mismatch, text) => mismatched(kind, mismatch, text),
        Why::OperandDash => {
            (Code::Dash, "an operand that begins with a dash could be taken for an option".into())
        }
        Why::TooMany(0) => (Code::ArgCount, "there may be no operand".into()),
        Why::TooMany(most) => (Code::ArgCount, format!("there may be {most} operands at most")),
        Why::TooFew(least) => (Code::ArgCount, format!("there must be {least} operands at least")),
    }
}

fn mismatched(kind: &Kind, mismatch: Mismatch, text: &str, veiled: bool) -> (Code, String) {
    let hidden = veiled || matches!(kind, Kind::Secret { .. });
    let text = if hidden { HIDDEN.to_owned() } else { show(text) };
    match mismatch {
        Mismatch::Kind => (Code::Value, format!("{text} is not {kind}")),
        Mismatch::Long => (Code::Value, format!("{text} is too long for {kind}")),
        Mismatch::Lines => (Code::Value, format!("{text} has newlines or tabs; expected {kind}")),
        Mismatch::Path(why) => (Code::Path, format!("{text}: {why}; expected {kind}")),
    }
}

/// What to write, as TOML. Nothing where only the caller can do something, nothing for paths that lead upwards, and
/// nothing that would have to repeat what may be secret.
fn allow(refused: &Refused<'_>, args: &[&str], veils: &Veils<'_>) -> Option<String> {
    let text = args.get(refused.at).copied().unwrap_or_default();
    let veiled = veils.from(args, refused.at).is_some();
    match refused.why {
        Why::Subcommand => {
            let first = args.first().filter(|arg| !arg.starts_with('-'))?;
            let shown = veils.from(args, 0).is_none();
            shown.then(|| format!("subcommand = [{}]", toml(first)))
        }
        Why::UnknownOption(_) | Why::OptionValue(..) | Why::Operand(..) | Why::TooMany(0)
            if veiled =>
        {
            None
        }
        Why::UnknownOption(text) => match text.split_once('=') {
            // Its value may be anything, a password too: it is not repeated.
            Some((name, _)) => Some(format!(
                "options = {{ {} = {{ one_of = [\"…\"], forms = [\"equals\"] }} }}",
                toml(name)
            )),
            None => Some(format!("options = {{ {} = \"flag\" }}", toml(text))),
        },
        Why::Form(name) => {
            let form = if text == name { "separate" } else { "equals" };
            Some(format!("options = {{ {} = {{ …, forms = [\"{form}\"] }} }}", toml(name)))
        }
        Why::OptionDash(name) => {
            Some(format!("options = {{ {} = {{ …, forms = [\"equals\"] }} }}", toml(name)))
        }
        Why::Repeated(name, most) => {
            Some(format!("options = {{ {} = {{ …, repeat = {} }} }}", toml(name), most + 1))
        }
        Why::OptionValue(_, Kind::Secret { .. }, ..) | Why::Operand(Kind::Secret { .. }, ..) => {
            None
        }
        Why::OptionValue(_, _, Mismatch::Lines, _) | Why::Operand(_, Mismatch::Lines, _) => {
            Some("lines = true".to_owned())
        }
        Why::OptionValue(_, kind, Mismatch::Kind, text)
        | Why::Operand(kind, Mismatch::Kind, text) => widened(kind, text),
        Why::TooMany(0) => Some(format!("args = [{}]", toml(text))),
        Why::TooMany(most) => Some(format!("args = [{{ …, repeat = {} }}]", most + 1)),
        _ => None,
    }
}

fn widened(kind: &Kind, text: &str) -> Option<String> {
    match kind {
        Kind::Literal(one) => Some(format!("{{ one_of = [{}, {}] }}", toml(one), toml(text))),
        Kind::Enum(all) => {
            let all: Vec<_> = all.iter().map(String::as_str).chain([text]).map(toml).collect();
            Some(format!("{{ one_of = [{}] }}", all.join(", ")))
        }
        Kind::Int { min, max } => {
            let number: i64 = text.parse().ok()?;
            Some(format!("{{ int = \"{}..{}\" }}", number.min(*min), number.max(*max)))
        }
        _ => None,
    }
}

/// A text as TOML writes it: JSON's escapes are TOML's too.
fn toml(text: &(impl AsRef<str> + ?Sized)) -> String {
    let short: String = text.as_ref().chars().take(SHOWN_MAX).collect();
    serde_json::Value::String(short).to_string()
}

/// A text of somebody else's, quoted, escaped and cut.
pub(crate) fn show(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

fn option_name(text: &str) -> &str {
    text.split('=').next().unwrap_or(text)
}
