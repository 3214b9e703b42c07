//! What is wrong with a policy as it is written, before anything is compiled or looked at.

use std::collections::BTreeSet;

use crate::catalog::{self, Class};
use crate::input::{ARG_BYTES_MAX, ARGS_MAX, is_reserved};
use crate::model::{Cwd, Deny, Form, Kind, Opt, Order, Policy, Profile, Rule, Stdin};
use crate::path::is_plain;

/// Bytes of an option's name: GNU's longest are half of it.
const OPTION_MAX: usize = 64;
/// Bytes of a rule's id: it is written into every record of a run.
const ID_MAX: usize = 64;
/// Rules of one policy.
const RULES_MAX: usize = 10_000;

type Wrong = Vec<(String, String)>;

/// Everything that is wrong: where (see [`crate::Fault::key`]) and why.
pub(crate) fn check(policy: &Policy) -> Wrong {
    let mut wrong = Wrong::new();
    whole(policy, &mut wrong);
    for (at, rule) in policy.allow.iter().enumerate() {
        let mut own = Wrong::new();
        rule_alone(rule, &mut own);
        runs_anything(policy, rule, &mut own);
        wrong.extend(own.into_iter().map(|(key, why)| (format!("allow.{at}.{key}"), why)));
    }
    for (at, deny) in policy.deny.iter().enumerate() {
        let mut own = Wrong::new();
        deny_alone(deny, &mut own);
        wrong.extend(own.into_iter().map(|(key, why)| (format!("deny.{at}.{key}"), why)));
    }
    wrong
}

fn whole(policy: &Policy, wrong: &mut Wrong) {
    let mut says = |key: &str, why: String| wrong.push((key.to_owned(), why));
    let absolute = "must be an absolute path without `.`, `..` and doubled slashes";
    if !is_plain(&policy.program) || policy.program == "/" {
        says("program", format!("`program` {absolute}"));
    }
    if policy.interpreter.as_ref().is_some_and(|path| !is_plain(path)) {
        says("interpreter", format!("`interpreter` {absolute}"));
    }
    let is_hash =
        |text: &String| text.len() == 64 && text.bytes().all(|b| b"0123456789abcdef".contains(&b));
    if policy.sha256.as_ref().is_some_and(|text| !is_hash(text)) {
        says("sha256", "`sha256` has 64 lower-case hex digits, as sha256sum prints them".into());
    }
    let (Cwd::Fixed(folder) | Cwd::Beneath(folder)) = &policy.cwd;
    if !is_plain(folder) {
        says("cwd", format!("`cwd` {absolute}"));
    }
    if let Stdin::File(folder) = &policy.stdin
        && !is_plain(folder)
    {
        says("stdin", format!("the folder of `stdin` {absolute}"));
    }
    if policy.sandbox == Profile::None && !policy.layers.is_empty() {
        says("layers", "`sandbox = \"none\"` has no layers: choose a profile".into());
    }
    for id in policy.who.uids.iter().chain(&policy.who.gids).filter(|id| is_reserved(**id)) {
        says("who", format!("{id} means \"no id\" to the kernel: nobody has it"));
    }
    if policy.allow.len() + policy.deny.len() > RULES_MAX {
        says("allow", format!("a policy may have {RULES_MAX} rules"));
    }
    let mut ids = BTreeSet::new();
    let all =
        policy.allow.iter().enumerate().map(|(at, rule)| (format!("allow.{at}.id"), &rule.id));
    let all = all.chain(
        policy.deny.iter().enumerate().map(|(at, deny)| (format!("deny.{at}.id"), &deny.id)),
    );
    for (key, id) in all {
        let proper = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if id.len() > ID_MAX || !id.chars().all(proper) {
            says(
                &key,
                format!("a rule's `id` has up to {ID_MAX} of a-z, A-Z, 0-9, `_`, `-` and `.`"),
            );
        }
        if !ids.insert(id) {
            says(&key, format!("two rules have the id `{id}`: every decision names one"));
        }
    }
}

fn rule_alone(rule: &Rule, wrong: &mut Wrong) {
    let mut says = |key: String, why: String| wrong.push((key, why));
    for (at, word) in rule.subcommand.iter().enumerate() {
        if word.is_empty() || word.starts_with('-') {
            says(
                format!("subcommand.{at}"),
                "a word of `subcommand` is neither empty nor an option".into(),
            );
        }
    }
    if rule.dashes && rule.order == Order::ArgsFirst {
        says("dashes".into(), "with order = \"args-first\" there is no place for a `--`".into());
    }
    let behind_dashes = rule.dashes && rule.order == Order::OptionsFirst;
    let last = rule.args.len().saturating_sub(1);
    let mut optional = false;
    for (at, operand) in rule.args.iter().enumerate() {
        let mut says = |why: String| says(format!("args.{at}"), why);
        kind_alone(&operand.kind, &mut says);
        if let Kind::Int { min, .. } = operand.kind
            && min < 0
            && !behind_dashes
        {
            says("a negative number begins with a dash: it needs the `--` before operands".into());
        }
        if begins_with_dash(&operand.kind) {
            says("what begins with a dash is an option: write it in `options`".into());
        }
        if optional && !operand.optional {
            says("behind an optional argument all are optional".into());
        }
        optional |= operand.optional;
        let most = if at == last { ARGS_MAX } else { 1 };
        if operand.repeat == 0 || operand.repeat as usize > most {
            says(format!("`repeat` is 1 to {ARGS_MAX}, and only the last argument may have it"));
        }
    }
    for (name, option) in &rule.options {
        let mut says = |why: String| says(format!("options.{name}"), why);
        option_alone(name, option, rule, &mut says);
    }
    for (at, set) in rule.exclusive.iter().enumerate() {
        for name in set.iter().filter(|name| !rule.options.contains_key(*name)) {
            says(format!("exclusive.{at}"), format!("`{name}` is not among `options`"));
        }
    }
}

fn option_alone(name: &str, option: &Opt, rule: &Rule, says: &mut impl FnMut(String)) {
    let printable = name.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
    if !name.starts_with('-')
        || name.len() < 2
        || name == "--"
        || name.len() > OPTION_MAX
        || !printable
    {
        says(format!(
            "`{}` can't be the name of an option: a dash or two, then printable ASCII without `=`",
            name.escape_debug()
        ));
    }
    if option.repeat == 0 || option.repeat as usize > ARGS_MAX {
        says(format!("`repeat` is 1 to {ARGS_MAX}"));
    }
    let Some(value) = &option.value else {
        if !option.forms.is_empty() {
            says("a flag has no `forms`: it has no value".into());
        }
        return;
    };
    kind_alone(value, says);
    if option.forms.is_empty() {
        says("an option with a value has at least one of `forms`".into());
    }
    if option.forms.contains(&Form::Joined) {
        if name.len() != 2 {
            says("only an option of one letter can have its value joined to it".into());
        }
        let other = rule.options.keys().find(|other| other.len() > 2 && other.starts_with(name));
        if let Some(other) = other {
            says(format!("joined to its value `{name}` could be read as `{other}`"));
        }
    }
    let negative = matches!(value, Kind::Int { min, .. } if *min < 0);
    if option.forms == [Form::Separate] && (negative || begins_with_dash(value)) {
        says("a value that begins with a dash needs the form \"equals\" or \"joined\"".into());
    }
}

/// What is wrong with a kind wherever it stands.
pub(crate) fn kind_alone(kind: &Kind, says: &mut impl FnMut(String)) {
    match kind {
        Kind::Enum(all) if all.is_empty() => says("there is no text to choose from".into()),
        Kind::Int { min, max } if min > max => {
            says(format!("there is no number from {min} to {max}"))
        }
        Kind::Regex { max, .. } | Kind::Secret { max, .. }
            if *max == 0 || *max as usize > ARG_BYTES_MAX =>
        {
            says(format!("`max` is 1 to {ARG_BYTES_MAX} bytes"));
        }
        Kind::Path { beneath, .. } if !is_plain(beneath) => {
            says("`beneath` must be an absolute path without `.`, `..` and doubled slashes".into());
        }
        Kind::Literal(_)
        | Kind::Enum(_)
        | Kind::Int { .. }
        | Kind::Regex { .. }
        | Kind::Path { .. }
        | Kind::Secret { .. } => {}
    }
}

/// A single dash is no option: it stands for standard input.
fn begins_with_dash(kind: &Kind) -> bool {
    let dash = |text: &String| text.starts_with('-') && text != "-";
    match kind {
        Kind::Literal(text) => dash(text),
        Kind::Enum(all) => all.iter().any(dash),
        _ => false,
    }
}

/// A program that runs what it is given runs anything, unless the policy writes down what.
fn runs_anything(policy: &Policy, rule: &Rule, wrong: &mut Wrong) {
    let accepted = |class: Class| policy.accept.contains(&class);
    let chosen = |kind: &Kind| matches!(kind, Kind::Regex { .. } | Kind::Secret { .. });
    // A folder says where the file is, not what is in it.
    let from_caller = |kind: &Kind| chosen(kind) || matches!(kind, Kind::Path { .. });
    let name = crate::path::file_name(&policy.program);
    let mut says = |key: String, what: String, class: Class| {
        let why = format!(
            "{what} {}: whoever chooses it runs anything. Write the values down; if it is meant: accept = [\"{}\"]",
            class.as_phrase(),
            class.as_str()
        );
        wrong.push((key, why));
    };
    let operands = catalog::operands(&policy.program);
    for class in operands.iter().filter(|class| class.is_total() && !accepted(**class)) {
        let bad = rule.args.iter().position(|operand| match class {
            // The first operand is the program's text or file; further ones are its data.
            Class::Shell => std::ptr::eq(operand, &rule.args[0]) && from_caller(&operand.kind),
            _ => from_caller(&operand.kind),
        });
        if let Some(at) = bad {
            says(
                format!("args.{at}"),
                format!("{name} with an argument of the caller's choice"),
                *class,
            );
        }
    }
    if !accepted(Class::Shell) && reads_commands(policy, rule) {
        says("stdin".into(), format!("what {name} reads on its standard input"), Class::Shell);
    }
    for (option, opt) in &rule.options {
        let class = catalog::class_of_option(&policy.program, option);
        let free = opt.value.as_ref().is_some_and(chosen);
        if let Some(class) = class.filter(|class| class.is_total() && free && !accepted(*class)) {
            says(format!("options.{option}"), format!("`{option}` of {name}"), class);
        }
    }
}

/// True where what the caller sends on standard input is taken for commands: by an interpreter that is given no file of its own,
/// and by programs that have commands for a shell among their own.
fn reads_commands(policy: &Policy, rule: &Rule) -> bool {
    let Some(entry) = catalog::entry(&policy.program) else { return false };
    if policy.stdin == Stdin::None || !entry.inside.contains(&Class::Shell) {
        return false;
    }
    let is_interpreter = entry.operands == [Class::Shell];
    let is_stdin =
        |text: &String| text == "-" || text.starts_with("/dev/") || text.starts_with("/proc/");
    let own_file =
        rule.args.first().filter(|operand| !operand.optional).is_some_and(|operand| match &operand
            .kind
        {
            Kind::Literal(text) => !is_stdin(text),
            Kind::Enum(all) => !all.iter().any(is_stdin),
            _ => false,
        });
    let told_to = ["-s", "-i", "--interactive"].iter().any(|name| rule.options.contains_key(*name));
    !is_interpreter || !own_file || told_to
}

fn deny_alone(deny: &Deny, wrong: &mut Wrong) {
    if deny.id.is_empty() {
        wrong.push(("id".into(), "a deny rule needs an `id`: it is what is told".into()));
    }
    for name in deny.options.iter().filter(|name| !name.starts_with('-')) {
        wrong.push(("options".into(), format!("`{name}` is no option: it has no dash")));
    }
}
