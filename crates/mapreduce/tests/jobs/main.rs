//! Jobs over real commands, beside coreutils: this binary is the tests, and the process of a job, told apart by its first argument.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test binary without the test harness"
)]

mod cases;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{InstanceId, InstanceKind};
use ganger_keeper::wire::{Env, Plan};
use ganger_mapreduce::input::{Format, Inputs};
use ganger_mapreduce::job::{FoldBy, Job, Map, Note, Reduce, run};
use ganger_mapreduce::operators::Grep;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("role:job") => role(&args[2..]),
        _ => ganger_testkit::cases::run(&args, cases::ALL),
    }
}

/// `NAME=VALUE` each. Prints `NAME=VALUE` lines of what it did; on standard error what went wrong.
fn role(args: &[String]) -> ExitCode {
    let given = |name: &str| {
        args.iter()
            .filter_map(|arg| arg.split_once('='))
            .find(|(had, _)| *had == name)
            .map(|(_, value)| value)
    };
    let number = |name: &str, usual: u64| given(name).map_or(usual, |value| value.parse().unwrap());
    let here = std::env::current_dir().unwrap().to_str().unwrap().to_owned();
    let env = Env::inheriting(Arc::new(std::env::vars().collect()));
    let plan = Plan::new(InstanceId::new("job", 1), InstanceKind::Command, "/", vec!["job".into()]);
    let job = Job {
        inputs: Inputs::list(given("input").unwrap().split(' ')).unwrap(),
        format: Format::Lines,
        split: given("split").map(|split| split.parse().unwrap()),
        map: map(given("map").unwrap()),
        combine: given("combine").map(reduce),
        reduce: given("reduce").map(reduce),
        reducers: u32::try_from(number("reducers", 2)).unwrap(),
        separator: b'\t',
        key_fields: 1,
        partition_fields: None,
        output: PathBuf::from(given("output").unwrap()),
        identity: given("map").unwrap().to_owned(),
        slots: usize::try_from(number("slots", 2)).unwrap(),
        memory: usize::try_from(number("memory", 64 << 20)).unwrap(),
        record_max: 1 << 20,
        task_failures: u8::try_from(number("failures", 4)).unwrap(),
        keep_going: given("keep_going").is_some(),
        idle: Duration::from_secs(600),
        resume: given("resume").is_some(),
        fresh: given("fresh").is_some(),
        plan: Plan { env, cwd: here, ..plan },
        own: Vec::new(),
        find,
    };
    let done = run(job, &mut |note| {
        if let Note::Warning(text) = note {
            println!("warning={text}");
        }
    });
    match done {
        Ok(outcome) => {
            println!(
                "parts={}\nlines={}\nmaps={}",
                outcome.parts, outcome.written.1, outcome.tasks.0
            );
            println!(
                "resumed={}\nfailed={}\nlost={}",
                outcome.resumed, outcome.failed.0, outcome.failed.1
            );
            println!("remade={}\ndead={:?}", outcome.remade, outcome.dead);
            for ((group, name), amount) in outcome.counters {
                println!("counter {group} {name}={amount}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error={error}");
            ExitCode::FAILURE
        }
    }
}

fn words(text: &str) -> Vec<String> {
    ["sh", "-c", text].map(str::to_owned).to_vec()
}

fn map(text: &str) -> Map {
    match text {
        "@lines" => Map::Lines,
        "@words" => Map::Words,
        _ => match text.strip_prefix("@grep:") {
            Some(pattern) => Map::Grep(Box::new(Grep::new(pattern).unwrap())),
            None => Map::Command(words(text)),
        },
    }
}

fn reduce(text: &str) -> Reduce {
    match text {
        "@sort" => Reduce::Lines,
        "@distinct" => Reduce::Distinct,
        "@count" => Reduce::Fold(FoldBy::Count),
        "@sum" => Reduce::Fold(FoldBy::Sum),
        "@max" => Reduce::Fold(FoldBy::Max),
        _ => Reduce::Command(words(text)),
    }
}

fn find(name: &str) -> Result<PathBuf, (u8, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| (127, format!("`{name}` is not on PATH")))
}
