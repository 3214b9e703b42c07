//! Tokens to a checked condition, by recursive descent: one function a line of the grammar.

use std::ops::Range;
use std::time::Duration;

use super::lex::{Token, tokens};
use super::{Compare, DEPTH_MAX, Expr, ExprError, Node, Sum, TEXT_MAX, Unit};
use crate::labels::Labels;
use crate::values::{Query, Read, Selector};

type Spanned = (Node, Range<usize>);

/// Functions over windows, for suggestions; `pNN` is read apart.
const FUNCTIONS: [&str; 9] = ["avg", "min", "max", "sum", "last", "rate", "finding", "p95", "p99"];

pub(crate) fn condition(text: &str) -> Result<Expr, ExprError> {
    if text.len() > TEXT_MAX {
        let message = format!("an expression has at most {TEXT_MAX} bytes");
        return Err(ExprError::new(0..text.len(), message));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, subject: None };
    let root = parser.or()?;
    let root = truth(root)?;
    parser.end()?;
    Ok(Expr { root, subject: parser.subject })
}

pub(crate) fn number_only(text: &str) -> Option<f64> {
    match tokens(text).ok()?.as_slice() {
        [(Token::Number(n, _), _), (Token::End, _)] => Some(*n),
        [(Token::Sign("-"), _), (Token::Number(n, _), _), (Token::End, _)] => Some(-n),
        _ => None,
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: u32,
    subject: Option<Selector>,
}

/// The node where true or false is needed.
fn truth((node, span): Spanned) -> Result<Node, ExprError> {
    match node {
        Node::Finding(..) => Ok(Node::Found(Box::new(node))),
        Node::Number(..) | Node::Value(..) | Node::Negated(_) | Node::Sum(..) => {
            Err(ExprError::new(span, "this is a number, where true or false is needed")
                .help("compare it with something: … > 10"))
        }
        _ => Ok(node),
    }
}

/// The node where a number is needed.
fn amount((node, span): Spanned) -> Result<Node, ExprError> {
    match node {
        Node::Compared(..) | Node::Not(_) | Node::And(_) | Node::Or(_) | Node::Found(_) => {
            Err(ExprError::new(span, "this is true or false, where a number is needed")
                .help("comparisons are joined with `and` and `or`"))
        }
        _ => Ok(node),
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    /// Takes the token; the end is never passed.
    fn next(&mut self) -> (Token, Range<usize>) {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Token::Sign(s) if *s == sign);
        if there {
            self.next();
        }
        there
    }

    fn word(&mut self, word: &str) -> bool {
        let there = matches!(self.peek(), Token::Word(w) if w == word);
        if there {
            self.next();
        }
        there
    }

    fn need(&mut self, sign: &str, why: &str) -> Result<Range<usize>, ExprError> {
        let span = self.span();
        if self.take(sign) {
            return Ok(span);
        }
        Err(ExprError::new(span, format!("`{sign}` is missing {why}")))
    }

    fn end(&self) -> Result<(), ExprError> {
        if *self.peek() == Token::End {
            return Ok(());
        }
        let rest = self.span().start..self.tokens[self.tokens.len() - 1].1.end;
        Err(ExprError::new(rest, "the condition ended before this")
            .help("join conditions with `and` or `or`"))
    }

    fn or(&mut self) -> Result<Spanned, ExprError> {
        self.joined("or", Node::Or, Self::and)
    }

    fn and(&mut self) -> Result<Spanned, ExprError> {
        self.joined("and", Node::And, Self::not)
    }

    fn joined(
        &mut self,
        word: &str,
        join: fn(Vec<Node>) -> Node,
        part: fn(&mut Self) -> Result<Spanned, ExprError>,
    ) -> Result<Spanned, ExprError> {
        let first = part(self)?;
        if !matches!(self.peek(), Token::Word(w) if w == word) {
            return Ok(first);
        }
        let mut span = first.1.clone();
        let mut all = vec![truth(first)?];
        while self.word(word) {
            let next = part(self)?;
            span.end = next.1.end;
            all.push(truth(next)?);
        }
        Ok((join(all), span))
    }

    fn not(&mut self) -> Result<Spanned, ExprError> {
        let start = self.span().start;
        if !self.word("not") {
            return self.comparison();
        }
        let (inner, span) = self.deeper(Self::not)?;
        let whole = start..span.end;
        Ok((Node::Not(Box::new(truth((inner, span))?)), whole))
    }

    fn comparison(&mut self) -> Result<Spanned, ExprError> {
        let left = self.sum()?;
        let compare = match self.peek() {
            Token::Sign("<") => Compare::Less,
            Token::Sign("<=") => Compare::LessEqual,
            Token::Sign(">") => Compare::More,
            Token::Sign(">=") => Compare::MoreEqual,
            Token::Sign("==") => Compare::Equal,
            Token::Sign("!=") => Compare::NotEqual,
            Token::Sign("=") => {
                return Err(ExprError::new(self.span(), "`=` compares nothing").help("write `==`"));
            }
            _ => return Ok(left),
        };
        self.next();
        let right = self.sum()?;
        let span = left.1.start..right.1.end;
        if matches!(self.peek(), Token::Sign("<" | "<=" | ">" | ">=" | "==" | "!=")) {
            return Err(ExprError::new(self.span(), "comparisons can't be chained")
                .help("write a < b and b < c"));
        }
        Ok((Node::Compared(compare, Box::new(amount(left)?), Box::new(amount(right)?)), span))
    }

    fn sum(&mut self) -> Result<Spanned, ExprError> {
        self.chain(&[("+", Sum::Add), ("-", Sum::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Spanned, ExprError> {
        self.chain(&[("*", Sum::Multiply), ("/", Sum::Divide)], Self::unary)
    }

    /// `a + b - c`, from the left. The tree leans as deep as the chain is long, so its length counts as depth.
    fn chain(
        &mut self,
        signs: &[(&str, Sum)],
        part: fn(&mut Self) -> Result<Spanned, ExprError>,
    ) -> Result<Spanned, ExprError> {
        let mut left = part(self)?;
        for links in 0.. {
            let Some((_, sum)) =
                signs.iter().find(|(sign, _)| matches!(self.peek(), Token::Sign(s) if s == sign))
            else {
                break;
            };
            if links >= DEPTH_MAX {
                return Err(self.too_deep());
            }
            self.next();
            let right = part(self)?;
            let span = left.1.start..right.1.end;
            let (a, b) = (Box::new(amount(left)?), Box::new(amount(right)?));
            left = (Node::Sum(*sum, a, b), span);
        }
        Ok(left)
    }

    fn too_deep(&self) -> ExprError {
        let message = format!("more than {DEPTH_MAX} levels deep");
        ExprError::new(self.span(), message).help("make two rules of it")
    }

    fn deeper(
        &mut self,
        part: fn(&mut Self) -> Result<Spanned, ExprError>,
    ) -> Result<Spanned, ExprError> {
        if self.depth >= DEPTH_MAX {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let found = part(self);
        self.depth -= 1;
        found
    }

    fn unary(&mut self) -> Result<Spanned, ExprError> {
        let start = self.span().start;
        if self.take("-") {
            let (inner, span) = self.deeper(Self::unary)?;
            let whole = start..span.end;
            let inner = amount((inner, span))?;
            let node = match inner {
                Node::Number(n, unit) => Node::Number(-n, unit),
                other => Node::Negated(Box::new(other)),
            };
            return Ok((node, whole));
        }
        if self.take("(") {
            let (node, _) = self.deeper(Self::or)?;
            let end = self.need(")", "after this group")?;
            return Ok((node, start..end.end));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Spanned, ExprError> {
        let (token, span) = self.next();
        match token {
            Token::Number(n, unit) => Ok((Node::Number(n, unit), span)),
            Token::Word(word) if matches!(word.as_str(), "and" | "or" | "not") => {
                Err(ExprError::new(span, format!("`{word}` has nothing to join here")))
            }
            Token::Word(name) if matches!(self.peek(), Token::Sign("(")) => self.call(&name, span),
            Token::Word(name) => {
                let (labels, selector, end) = self.items(span.end)?;
                let query = Query { metric: name, labels, read: Read::Last, range: None };
                Ok((Node::Value(query, selector), span.start..end))
            }
            Token::End => Err(ExprError::new(span, "the condition ends too early")
                .help("it looks like p95(latency, 5m) > 2s")),
            _ => Err(ExprError::new(span, "a metric, a number or a function is needed here")),
        }
    }

    fn call(&mut self, name: &str, span: Range<usize>) -> Result<Spanned, ExprError> {
        self.need("(", "after the function")?;
        let (inner, inner_span) = self.next();
        let Token::Word(word) = inner else {
            return Err(ExprError::new(inner_span, format!("`{name}` needs a name first"))
                .help("like avg(cpu, 5m) or finding(leak)"));
        };
        let (labels, selector, _) = self.items(inner_span.end)?;
        if name == "finding" {
            let end = self.need(")", "after the detector")?;
            return Ok((Node::Finding(word, selector), span.start..end.end));
        }
        let read = function(name).ok_or_else(|| unknown_function(name, span.clone()))?;
        self.need(",", "before the window, as in avg(cpu, 5m)")?;
        let range = self.window()?;
        let end = self.need(")", "after the window")?;
        let query = Query { metric: word, labels, read, range: Some(range) };
        Ok((Node::Value(query, selector), span.start..end.end))
    }

    fn window(&mut self) -> Result<Duration, ExprError> {
        match self.next() {
            (Token::Number(n, Unit::Seconds), _) if n > 0.0 => Ok(Duration::from_secs_f64(n)),
            (_, span) => Err(ExprError::new(span, "a window is a time").help("like 30s, 5m or 1h")),
        }
    }

    /// `{queue:images, kind='resize'}`, if it stands there.
    fn items(&mut self, end: usize) -> Result<(Labels, Option<Selector>, usize), ExprError> {
        let mut labels = Labels::new();
        let mut selector = None;
        if !self.take("{") {
            return Ok((labels, selector, end));
        }
        loop {
            let (token, span) = self.next();
            let Token::Word(word) = token else {
                return Err(ExprError::new(span, "an object or a label is needed here")
                    .help("like {service:web} or {kind='resize'}"));
            };
            if self.take("=") {
                let (Token::Text(text), _) = self.next() else {
                    return Err(ExprError::new(span, format!("`{word}` needs a text in quotes")));
                };
                labels.insert(word, text);
            } else {
                let found = self.selector(word, &span)?;
                if selector.replace(found).is_some() {
                    return Err(ExprError::new(span, "one object is enough"));
                }
            }
            if !self.take(",") {
                break;
            }
        }
        let end = self.need("}", "after the labels")?;
        if self.subject.is_none() {
            self.subject.clone_from(&selector);
        }
        Ok((labels, selector, end.end))
    }

    fn selector(&mut self, kind: String, span: &Range<usize>) -> Result<Selector, ExprError> {
        if kind == "host" {
            return Ok(Selector::host());
        }
        if !self.take(":") {
            return Err(ExprError::new(span.clone(), format!("`{kind}` selects nothing"))
                .help(format!("write {kind}:NAME, {kind}:* or {kind}='…'")));
        }
        let mut name = String::new();
        let mut end = self.span().start;
        // Names run on without blanks: web-1, images#2, *.
        while self.span().start == end {
            match self.peek() {
                Token::Word(part) | Token::Text(part) => name.push_str(part),
                Token::Sign(sign @ ("*" | "-" | "#" | "/")) => name.push_str(sign),
                Token::Number(n, Unit::Plain) => name.push_str(&n.to_string()),
                _ => break,
            }
            end = self.next().1.end;
        }
        if name.is_empty() {
            return Err(ExprError::new(span.clone(), format!("`{kind}:` needs a name or `*`")));
        }
        Ok(Selector { kind, name })
    }
}

fn function(name: &str) -> Option<Read> {
    Some(match name {
        "avg" => Read::Avg,
        "min" => Read::Min,
        "max" => Read::Max,
        "sum" => Read::Sum,
        "last" => Read::Last,
        "rate" => Read::Rate,
        _ => {
            let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
            (0.0..=100.0).contains(&percent).then_some(Read::Quantile(percent / 100.0))?
        }
    })
}

fn unknown_function(name: &str, span: Range<usize>) -> ExprError {
    let near = FUNCTIONS.iter().min_by_key(|known| strsim::levenshtein(known, name));
    let near = near.filter(|known| strsim::levenshtein(known, name) <= 2);
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {} and p50 to p99.9", FUNCTIONS[..7].join(", ")),
    };
    ExprError::new(span, format!("there is no function `{name}`")).help(help)
}
