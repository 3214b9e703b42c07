//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing of the file is applied.
    Error,
    /// It is applied, but something won't work.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Bytes of the file that it is about; `None` for the file as a whole.
    #[serde(skip)]
    pub span: Option<Range<usize>>,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Written below the caret.
    pub label: Option<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Diagnostic {
    pub(super) fn new(severity: Severity, message: String, span: Option<Range<usize>>) -> Self {
        Self { severity, message, span, line: 0, column: 0, label: None, help: Vec::new() }
    }

    pub(super) fn label(&mut self, label: String) -> &mut Self {
        self.label = Some(label);
        self
    }

    pub(super) fn help(&mut self, help: String) -> &mut Self {
        self.help.push(help);
        self
    }

    fn place(&mut self, source: &str) {
        let Some(span) = &self.span else { return };
        let before = source.get(..span.start).unwrap_or(source);
        self.line = before.matches('\n').count() + 1;
        self.column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    }
}

/// Findings shown to a person at a time: a generated file with one mistake a thousand times scrolls nothing away.
const SHOWN_MAX: usize = 50;

/// All findings of one file, in its order.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    /// The file.
    pub path: PathBuf,
    /// Its text, for the carets.
    pub source: String,
    /// In the order of the file.
    pub list: Vec<Diagnostic>,
}

impl ConfigErrors {
    /// Findings of a file's text, put in its order.
    pub(super) fn new(path: &Path, source: &str, mut list: Vec<Diagnostic>) -> Self {
        for diagnostic in &mut list {
            diagnostic.place(source);
        }
        list.sort_by_key(|d| (d.line, d.column));
        Self { path: path.to_owned(), source: source.to_owned(), list }
    }

    /// One error about a file as a whole.
    pub fn of_file(path: &Path, message: impl Into<String>) -> Self {
        let list = vec![Diagnostic::new(Severity::Error, message.into(), None)];
        Self { path: path.to_owned(), source: String::new(), list }
    }

    /// Adds what to do to the last finding.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(last) = self.list.last_mut() {
            last.help.push(help.into());
        }
        self
    }

    /// No findings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// As people read it: message, file:line:column, the line with a caret, help. Coloured if asked.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled().decor_style(DecorStyle::Unicode)
        } else {
            Renderer::plain()
        };
        let path = self.path.display().to_string();
        let mut text = String::new();
        for diagnostic in self.list.iter().take(SHOWN_MAX) {
            text.push_str(&renderer.render(&[self.group(diagnostic, &path)]));
            text.push_str("\n\n");
        }
        if self.list.len() > SHOWN_MAX {
            text.push_str(&format!("… and {} more like these\n", self.list.len() - SHOWN_MAX));
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic, path: &'a str) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(diagnostic.message.as_str());
        let mut group = match &diagnostic.span {
            Some(span) => {
                let span = span.start.min(self.source.len())..span.end.min(self.source.len());
                let mut annotation = AnnotationKind::Primary.span(self.first_line(span));
                if let Some(label) = &diagnostic.label {
                    annotation = annotation.label(label.as_str());
                }
                title.element(
                    Snippet::source(self.source.as_str()).path(path).annotation(annotation),
                )
            }
            None => title.element(Origin::path(path)),
        };
        for help in &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    /// A finding about several lines points at the first of them.
    fn first_line(&self, span: Range<usize>) -> Range<usize> {
        let text = self.source.get(span.clone()).unwrap_or("");
        span.start..span.start + text.find('\n').unwrap_or(text.len())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}
