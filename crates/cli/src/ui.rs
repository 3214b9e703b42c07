//! Where words go: data on stdout, talk on stderr, colour only where somebody sees it.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::error::CliError;
use crate::grammar::{ColorWhen, Globals};

/// Width of a table whose reader is not a terminal: nothing is dropped.
const UNLIMITED: usize = usize::MAX;
/// Terminals narrower than this get this width; a table can't shrink for ever.
const NARROWEST: usize = 40;

/// How this call talks. Cheap to make, never changed.
#[derive(Debug)]
pub(crate) struct Ui {
    globals: Globals,
    data_colour: bool,
    talk_colour: bool,
}

impl Ui {
    /// Looks at the flags, `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and whether the ends are terminals (anstream's rules).
    pub(crate) fn new(globals: Globals) -> Self {
        match globals.color {
            ColorWhen::Auto => ColorChoice::Auto,
            ColorWhen::Always => ColorChoice::AlwaysAnsi,
            ColorWhen::Never => ColorChoice::Never,
        }
        .write_global();
        let coloured = |choice| choice != ColorChoice::Never;
        Self {
            data_colour: coloured(AutoStream::choice(&io::stdout())),
            talk_colour: coloured(AutoStream::choice(&io::stderr())),
            globals,
        }
    }

    /// The flags every verb has.
    pub(crate) fn globals(&self) -> &Globals {
        &self.globals
    }

    /// A buffered stdout. Flushed by [`Out::done`] or when it is dropped.
    pub(crate) fn out(&self) -> Out {
        Out::stdout()
    }

    /// Stdout may carry colour.
    pub(crate) fn data_is_coloured(&self) -> bool {
        self.data_colour
    }

    /// Stderr may carry colour.
    pub(crate) fn talk_is_coloured(&self) -> bool {
        self.talk_colour
    }

    /// Says a line on stderr. A closed stderr is nobody listening.
    pub(crate) fn talk(&self, text: &str) {
        let mut err = AutoStream::auto(io::stderr()).lock();
        let _ = writeln!(err, "{text}");
    }

    /// Columns a table may use.
    pub(crate) fn width(&self) -> usize {
        if !io::stdout().is_terminal() {
            return UNLIMITED;
        }
        rustix::termios::tcgetwinsize(io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0)
            .map_or(80, |columns| columns.max(NARROWEST))
    }

    /// One JSON document on stdout: indented for a person, one line for a pipe.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let mut out = self.out();
        if io::stdout().is_terminal() {
            serde_json::to_writer_pretty(&mut out.0, value).map_err(io::Error::from)?;
        } else {
            serde_json::to_writer(&mut out.0, value).map_err(io::Error::from)?;
        }
        out.line("")?;
        out.done()
    }
}

/// Buffered data output.
#[derive(Debug)]
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    /// Takes stdout's lock until it is dropped: one at a time.
    pub(crate) fn stdout() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        self.0.write_all(text.as_bytes())?;
        Ok(self.0.write_all(b"\n")?)
    }

    /// Writes a JSON value and a newline.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.0, value).map_err(io::Error::from)?;
        Ok(self.0.write_all(b"\n")?)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.0.write_all(bytes)?)
    }

    /// Flushes; call it before waiting for more and at the end.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.0.flush()?)
    }

    /// Flushes and closes.
    pub(crate) fn done(mut self) -> Result<(), CliError> {
        self.flush()
    }
}
