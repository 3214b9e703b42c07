//! The live tail of everybody's words on stdout, on a thread of its own: reading segment files blocks.

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use ganger_logs::{LogReader, Query};

use crate::error::CliError;
use crate::place::Place;
use crate::printer::{Look, Printer};
use crate::text;
use crate::ui::{Out, Ui};
use crate::verbs::{OWN_LOG, read_error};

/// A running tail. Dropping it ends the thread; [`Tail::finish`] also waits for its last line.
#[derive(Debug)]
pub(crate) struct Tail {
    stop: OwnedFd,
    thread: JoinHandle<Result<(), CliError>>,
}

impl Tail {
    /// Prints what is said from now on.
    pub(crate) fn start(place: &Place, ui: &Ui) -> Result<Self, CliError> {
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(std::io::Error::from)?;
        let reader = LogReader::new(place.state_dir.join("logs"));
        let query = Query { since_ms: Some(text::now_ms()), ..Query::default() };
        let lines = reader.follow(&query, stopped).map_err(read_error)?;
        let mut printer = Printer::new(Look::Prefixed, ui.data_is_coloured(), false, &[]);
        let thread = std::thread::Builder::new().name("tail".into()).spawn(move || {
            let mut out = Out::stdout();
            for line in lines {
                let line = line.map_err(read_error)?;
                if &*line.name != OWN_LOG {
                    printer.print(&line, &mut out)?;
                    out.flush()?;
                }
            }
            Ok(())
        })?;
        Ok(Self { stop, thread })
    }

    /// The reader of stdout went away, or reading failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops after what is there now, and waits for it.
    pub(crate) fn finish(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}
