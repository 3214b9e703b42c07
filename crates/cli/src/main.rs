//! The binary `ganger`: a client of the daemon, and the door through which keeper, logger and daemon start.
//!
//! It owns the grammar, the tables, the look of errors and the exit codes; it holds no state and decides nothing about
//! services or tasks. One file per verb under `verbs/`, each with its clap `Args` and a `run(args, &Ui)`.
//!
//! Order of things in `main`: hidden verbs first (they must start without clap, threads or a runtime), then the grammar,
//! then the verb. A tokio runtime exists only inside `link::session`, so `--help`, `logs` and `run` start none.

use std::process::ExitCode;

mod apply;
mod bench;
mod error;
mod gone;
mod grammar;
mod hidden;
mod interrupts;
mod link;
mod place;
mod printer;
mod progress;
mod start;
mod table;
mod tail;
mod target;
mod text;
mod ui;
mod verbs;
mod voice;

fn main() -> ExitCode {
    if let Some(code) = hidden::dispatch(std::env::args_os()) {
        return code;
    }
    let (globals, verb) = match grammar::parse() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let ui = ui::Ui::new(globals);
    match verbs::run(verb, &ui) {
        Ok(code) => code,
        Err(error) => error.show(&ui),
    }
}
