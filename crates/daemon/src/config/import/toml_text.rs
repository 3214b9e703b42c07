//! Texts as `ganger.toml` writes them. Its strings know `${VAR}`, other tools' don't: a `${` that is meant as it stands is
//! written `$${`, and a variable that is meant to be looked up at each `up` travels between two marks until here.

const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';

/// A variable of the environment of `up`, to be put into a text for [`quoted`].
pub(super) fn variable(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// True for a text that holds a [`variable`], or could be taken to.
pub(super) fn has_variable(text: &str) -> bool {
    text.contains([OPEN, CLOSE])
}

/// A string that means this text when it is read.
pub(super) fn quoted(text: &str) -> String {
    let text = text.replace("${", "$${").replace(OPEN, "${").replace(CLOSE, "}");
    plain(&text)
}

/// A line for a shell: nothing in it is looked at, so it can hold no [`variable`].
pub(super) fn line_text(text: &str) -> String {
    plain(&text.replace(OPEN, "${").replace(CLOSE, "}"))
}

fn plain(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A list of them.
pub(super) fn quoted_list(texts: &[String]) -> String {
    let words: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", words.join(", "))
}

/// A key that needs no quotes.
pub(super) fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
