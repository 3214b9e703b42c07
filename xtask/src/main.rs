//! Developer commands: `cargo xtask quickstart|test|test-kernel|torture|bench`.
//!
//! This program builds the workspace with cargo and drives the `ganger` binary from outside, as a user would: it links
//! none of our crates, so it is built in a moment and can't see what a user can't see.
#![expect(clippy::print_stdout, reason = "a developer's command line tool talks to its terminal")]

mod build;
mod kernel;
mod sh;
mod tally;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Developer commands of ganger", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the kernel-facing tests under an emulated Debian 6.1 kernel with cgroup v2.
    TestKernel {
        /// Run only units whose name contains one of these words.
        only: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::TestKernel { only } => kernel::test_kernel(&only),
    };
    match result {
        Ok(tally) => tally.report(),
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
