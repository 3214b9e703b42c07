//! `firehose` of [`ganger_testkit::hostile`] as a program of its own.

fn main() -> std::process::ExitCode {
    ganger_testkit::hostile::main("firehose")
}
