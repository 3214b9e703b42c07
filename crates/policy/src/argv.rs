//! Arguments against one rule: texts become typed values, and typed values become the arguments that are launched.
//!
//! ```text
//! texts ─ read ─ Matched (options with values, operands) ─ write ─ argv
//!            └─ Refused: which argument, why
//! ```
//!
//! The invariant, tested for random rules and texts: what begins with a dash in a launched argv is an option of the table,
//! the `--` before the operands, or stands behind it.

use std::collections::{BTreeMap, HashMap};

use crate::decision::{Argument, Open};
use crate::model::{Form, Kind, Operand, Opt, Order, Rule};
use crate::value::{Mismatch, Reader, Value};

/// A rule, ready to read arguments.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    /// `POLICY` or `POLICY/RULE`.
    pub(crate) id: String,
    pub(crate) rule: Rule,
    operands: Vec<Reader>,
    options: HashMap<String, Option<Reader>>,
    least: usize,
    most: usize,
}

/// What the arguments are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matched<'r> {
    pub(crate) options: Vec<Given<'r>>,
    pub(crate) operands: Vec<Value>,
}

/// An option that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<'r> {
    pub(crate) name: &'r str,
    /// The form in which it is launched, and its value.
    pub(crate) value: Option<(Form, Value)>,
}

/// Why arguments are not those of a rule. Made for every rule that does not agree, so it holds nothing that costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused<'a> {
    /// Which argument; the number of them if one is missing.
    pub(crate) at: usize,
    pub(crate) why: Why<'a>,
}

/// See [`Refused`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Why<'a> {
    Subcommand,
    UnknownOption(&'a str),
    FlagWithValue(&'a str),
    Form(&'a str),
    NoValue(&'a str),
    OptionValue(&'a str, &'a Kind, Mismatch, &'a str),
    OptionDash(&'a str),
    Repeated(&'a str, u32),
    Missing(&'a str),
    Exclusive(&'a str, &'a str),
    Operand(&'a Kind, Mismatch, &'a str),
    OperandDash,
    TooMany(usize),
    TooFew(usize),
}

impl Compiled {
    /// Compiles the patterns of a rule.
    ///
    /// Where the mistake is, in words of [`crate::Fault::key`], and what it is.
    pub(crate) fn new(id: String, rule: &Rule) -> Result<Self, (String, String)> {
        let mut operands = Vec::new();
        for (at, Operand { kind, .. }) in rule.args.iter().enumerate() {
            operands.push(Reader::new(kind).map_err(|why| (format!("args.{at}"), why))?);
        }
        let mut options = HashMap::new();
        for (name, Opt { value, .. }) in &rule.options {
            let reader = value.as_ref().map(Reader::new).transpose();
            let reader = reader.map_err(|why| (format!("options.{name}"), why))?;
            options.insert(name.clone(), reader);
        }
        let least = rule.args.iter().filter(|operand| !operand.optional).count();
        let last = rule.args.last().map_or(0, |operand| operand.repeat.max(1) as usize - 1);
        Ok(Self { id, least, most: rule.args.len() + last, rule: rule.clone(), operands, options })
    }

    /// Reads arguments; relative paths start at `base`.
    pub(crate) fn read<'a>(
        &'a self,
        args: &[&'a str],
        base: &str,
    ) -> Result<Matched<'a>, Refused<'a>> {
        let first = &self.rule.subcommand;
        for (at, word) in first.iter().enumerate() {
            if args.get(at) != Some(&word.as_str()) {
                return Err(Refused { at, why: Why::Subcommand });
            }
        }
        let mut reading = Reading {
            rule: self,
            base,
            at: first.len(),
            options: Vec::new(),
            operands: Vec::new(),
        };
        reading.all(args)?;
        let Reading { options, operands, .. } = reading;
        self.counts(&options, operands.len(), args.len())?;
        Ok(Matched { options: options.into_iter().map(|(given, _)| given).collect(), operands })
    }

    fn counts<'a>(
        &'a self,
        options: &[(Given<'a>, usize)],
        operands: usize,
        end: usize,
    ) -> Result<(), Refused<'a>> {
        if operands < self.least {
            return Err(Refused { at: end, why: Why::TooFew(self.least) });
        }
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for (given, at) in options {
            let count = seen.entry(given.name).or_default();
            *count += 1;
            let most = self.rule.options.get(given.name).map_or(1, |option| option.repeat);
            if *count > most {
                return Err(Refused { at: *at, why: Why::Repeated(given.name, most) });
            }
        }
        let missing =
            |(name, option): &(&String, &Opt)| option.required && !seen.contains_key(name.as_str());
        if let Some((name, _)) = self.rule.options.iter().find(missing) {
            return Err(Refused { at: end, why: Why::Missing(name) });
        }
        for set in &self.rule.exclusive {
            let mut given =
                options.iter().filter(|(given, _)| set.iter().any(|one| one == given.name));
            let Some((first, _)) = given.next() else { continue };
            if let Some((second, at)) = given.find(|(other, _)| other.name != first.name) {
                return Err(Refused { at: *at, why: Why::Exclusive(first.name, second.name) });
            }
        }
        Ok(())
    }

    /// The arguments to launch, from the program's own name on, and the paths among them.
    pub(crate) fn write(&self, name: &str, matched: &Matched<'_>) -> (Vec<Argument>, Vec<Open>) {
        let mut out = Written { argv: vec![Argument::plain(name)], paths: Vec::new() };
        out.argv.extend(self.rule.subcommand.iter().map(Argument::plain));
        if self.rule.order == Order::ArgsFirst {
            matched.operands.iter().for_each(|value| out.value("", value));
            matched.options.iter().for_each(|given| out.option(given));
        } else {
            matched.options.iter().for_each(|given| out.option(given));
            if self.rule.dashes && !matched.operands.is_empty() {
                out.argv.push(Argument::plain("--"));
            }
            matched.operands.iter().for_each(|value| out.value("", value));
        }
        (out.argv, out.paths)
    }
}

struct Written {
    argv: Vec<Argument>,
    paths: Vec<Open>,
}

impl Written {
    fn option(&mut self, given: &Given<'_>) {
        match &given.value {
            None => self.argv.push(Argument::plain(given.name)),
            Some((Form::Equals, value)) => self.value(&format!("{}=", given.name), value),
            Some((Form::Joined, value)) => self.value(given.name, value),
            Some((Form::Separate, value)) => {
                self.argv.push(Argument::plain(given.name));
                self.value("", value);
            }
        }
    }

    fn value(&mut self, before: &str, value: &Value) {
        if let Value::Path(path, access) = value {
            self.paths.push(Open {
                argument: self.argv.len(),
                path: path.clone(),
                access: *access,
            });
        }
        self.argv.push(match value {
            Value::Secret(secret) => Argument::secret(before, secret),
            other => Argument::plain(format!("{before}{}", other.text())),
        });
    }
}

struct Reading<'a, 'b> {
    rule: &'a Compiled,
    base: &'b str,
    at: usize,
    options: Vec<(Given<'a>, usize)>,
    operands: Vec<Value>,
}

impl<'a> Reading<'a, '_> {
    fn all(&mut self, args: &[&'a str]) -> Result<(), Refused<'a>> {
        let mut behind = false;
        while let Some(&text) = args.get(self.at) {
            if behind || text == "-" || !text.starts_with('-') {
                self.operand(text)?;
            } else if text == "--" {
                behind = true;
            } else {
                self.option(text, args)?;
            }
            self.at += 1;
        }
        Ok(())
    }

    fn operand(&mut self, text: &'a str) -> Result<(), Refused<'a>> {
        let refuse = |why| Refused { at: self.at, why };
        let most = self.rule.most;
        if self.operands.len() >= most {
            return Err(refuse(Why::TooMany(most)));
        }
        let index = self.operands.len().min(self.rule.operands.len() - 1);
        let reader = &self.rule.operands[index];
        let value = reader
            .read(text, self.base)
            .map_err(|mismatch| refuse(Why::Operand(&reader.kind, mismatch, text)))?;
        // Also behind `--`, where it would do no harm to a program that knows it.
        if text.starts_with('-') && is_free(&reader.kind) {
            return Err(refuse(Why::OperandDash));
        }
        self.operands.push(value);
        Ok(())
    }

    fn option(&mut self, text: &'a str, args: &[&'a str]) -> Result<(), Refused<'a>> {
        let rule = self.rule;
        let refuse = |at, why| Refused { at, why };
        if let Some((name, reader)) = rule.options.get_key_value(text) {
            let Some(reader) = reader else {
                self.given(name, None, self.at);
                return Ok(());
            };
            if !rule.has_form(name, Form::Separate) {
                return Err(refuse(self.at, Why::Form(name)));
            }
            let at = self.at;
            self.at += 1;
            let value = args.get(self.at).ok_or(refuse(at, Why::NoValue(name)))?;
            return self.valued(name, reader, value);
        }
        if let Some((before, value)) = text.split_once('=')
            && let Some((name, reader)) = rule.options.get_key_value(before)
        {
            let reader = reader.as_ref().ok_or(refuse(self.at, Why::FlagWithValue(name)))?;
            if !rule.has_form(name, Form::Equals) {
                return Err(refuse(self.at, Why::Form(name)));
            }
            return self.valued(name, reader, value);
        }
        if let Some((before, value)) = text.split_at_checked(2)
            && let Some((name, Some(reader))) = rule.options.get_key_value(before)
            && rule.has_form(name, Form::Joined)
        {
            return self.valued(name, reader, value);
        }
        self.cluster(text)
    }

    fn cluster(&mut self, text: &'a str) -> Result<(), Refused<'a>> {
        let unknown = Refused { at: self.at, why: Why::UnknownOption(text) };
        if !self.rule.rule.clusters || text.starts_with("--") {
            return Err(unknown);
        }
        let mut names = Vec::new();
        for letter in text.chars().skip(1) {
            match self.rule.options.get_key_value(format!("-{letter}").as_str()) {
                Some((name, None)) => names.push(name),
                _ => return Err(unknown),
            }
        }
        names.into_iter().for_each(|name| self.given(name, None, self.at));
        Ok(())
    }

    fn valued(
        &mut self,
        name: &'a str,
        reader: &'a Reader,
        text: &'a str,
    ) -> Result<(), Refused<'a>> {
        let at = self.at;
        let value = reader
            .read(text, self.base)
            .map_err(|why| Refused { at, why: Why::OptionValue(name, &reader.kind, why, text) })?;
        let forms = self.rule.rule.options.get(name).map_or(&[][..], |option| &option.forms);
        let form = form(forms, &value.text(), is_free(&reader.kind))
            .ok_or(Refused { at, why: Why::OptionDash(name) })?;
        self.given(name, Some((form, value)), at);
        Ok(())
    }

    fn given(&mut self, name: &'a str, value: Option<(Form, Value)>, at: usize) {
        self.options.push((Given { name, value }, at));
    }
}

impl Compiled {
    fn has_form(&self, name: &str, form: Form) -> bool {
        self.rule.options.get(name).is_some_and(|option| option.forms.contains(&form))
    }
}

/// True for what the caller chooses freely, so that its first character may be anything.
pub(crate) const fn is_free(kind: &Kind) -> bool {
    matches!(kind, Kind::Regex { .. } | Kind::Secret { .. })
}

/// The first form in which the program can't take the value for something else.
fn form(forms: &[Form], value: &str, free: bool) -> Option<Form> {
    let fits = |form: &Form| match form {
        Form::Equals => true,
        // An empty value would make the next argument the value; of one that begins with `=` some programs drop the sign.
        Form::Joined => !value.is_empty() && !value.starts_with('='),
        Form::Separate => !value.starts_with('-') || (value == "-" && !free),
    };
    forms.iter().copied().find(fits)
}
