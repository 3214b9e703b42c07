//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

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
    /// One error about a file as a whole.
    pub fn of_file(path: &Path, message: impl Into<String>) -> Self {
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            line: 0,
            column: 0,
            label: None,
            help: Vec::new(),
        };
        Self { path: path.to_owned(), source: String::new(), list: vec![diagnostic] }
    }

    /// No findings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// As people read it: message, file:line:column, the line with a caret, help. Coloured if asked.
    #[must_use]
    pub fn render(&self, _color: bool) -> String {
        self.list.iter().map(|d| format!("error: {}\n", d.message)).collect()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}
