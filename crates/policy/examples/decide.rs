//! What a decision costs, with a thousand rules: `cargo run --release -p ganger-policy --example decide`.
//!
//! Two ways to have a thousand rules: one each for a thousand programs, and a thousand for one program; and what else there is
//! to decide once a rule agrees. Medians of batches; the machine's own `stat` beside them, which each decision makes once.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use ganger_policy::{
    Disk, Identify, Kind, Operand, Opt, Policies, Policy, Principal, Request, Rule, request,
};

const RULES: usize = 1_000;
const BATCHES: usize = 200;
const BATCH: usize = 50;
/// Something that is there on every machine, and no script.
const PROGRAMS: [&str; 3] = ["/usr/bin/env", "/bin/true", "/bin/cat"];

fn main() {
    let Some(program) = PROGRAMS.into_iter().find(|path| Disk.inspect(path, false).is_ok()) else {
        println!("none of {PROGRAMS:?} is here");
        return;
    };
    let goal_us = 20.0;
    println!("{:<52} {:>9} {:>9}   goal {goal_us} us", "decision", "p50 us", "p99 us");
    let by_program = many_programs(program);
    measure(
        "1,000 programs, allowed, by path",
        &by_program,
        &Request::program(program, &["r1", "-n5", "main"]),
    );
    measure(
        "1,000 programs, denied: not there",
        &by_program,
        &Request::program("/usr/bin/nothing", &["x"]),
    );
    let worded = one_program(program, |at, rule| rule.subcommand = vec![format!("r{at}")]);
    measure(
        "1,000 subcommands of one program, allowed",
        &worded,
        &Request::policy("p", &["r999", "-n5", "main"]),
    );
    let wordless = one_program(program, |at, rule| {
        let word = Kind::Literal(format!("r{at}"));
        rule.args.insert(0, Operand { kind: word, optional: false, repeat: 1 });
    });
    measure(
        "1,000 first operands of one program, allowed",
        &wordless,
        &Request::policy("p", &["r999", "-n5", "main"]),
    );
    measure(
        "1,000 first operands of one program, denied",
        &wordless,
        &Request::policy("p", &["x", "-n5", "main"]),
    );
    // All patterns are one set.
    let patterns = one_program(program, |at, rule| {
        let pattern = format!("r{at}[a-z]*");
        let word = Kind::Regex { pattern, max: 64, lines: false };
        rule.args.insert(0, Operand { kind: word, optional: false, repeat: 1 });
    });
    measure(
        "1,000 first patterns of one program, allowed",
        &patterns,
        &Request::policy("p", &["r999x", "-n5", "main"]),
    );
    let text = br#"{"policy":"p","args":["r999","-n5","main"],"cwd":"/"}"#;
    print("JSON to request", || drop(black_box(request(text))));
    print("stat of the program", || drop(black_box(Disk.stamp(program))));
}

fn rule() -> Rule {
    let number = Opt {
        value: Some(Kind::Int { min: 0, max: 9 }),
        forms: vec![ganger_policy::Form::Joined],
        repeat: 1,
        required: false,
    };
    let branch = Kind::Regex { pattern: "[a-z/]+".into(), max: 64, lines: false };
    Rule {
        args: vec![Operand { kind: branch, optional: true, repeat: 1 }],
        options: BTreeMap::from([("-n".to_owned(), number)]),
        ..Rule::default()
    }
}

fn policy(program: &str, allow: Vec<Rule>) -> Policy {
    let json = format!(r#"{{"program":"{program}","accept":["command"]}}"#);
    let policy: Policy = serde_json::from_str(&json).expect("a policy's JSON");
    Policy { allow, ..policy }
}

fn loaded(policies: BTreeMap<String, Policy>) -> Policies {
    let mut policies = Policies::new(policies).expect("they have no faults");
    policies.pin(&Disk);
    policies
}

fn many_programs(program: &str) -> Policies {
    let one = |at: usize| {
        let path = if at == 1 { program.to_owned() } else { format!("/opt/tools/tool-{at}") };
        let rule = Rule { subcommand: vec![format!("r{at}")], ..rule() };
        (format!("p{at}"), policy(&path, vec![rule]))
    };
    loaded((0..RULES).map(one).collect())
}

fn one_program(program: &str, change: impl Fn(usize, &mut Rule)) -> Policies {
    let one = |at: usize| {
        let mut rule = Rule { id: format!("r{at}"), ..rule() };
        change(at, &mut rule);
        rule
    };
    loaded(BTreeMap::from([("p".to_owned(), policy(program, (0..RULES).map(one).collect()))]))
}

fn measure(name: &str, policies: &Policies, request: &Request) {
    let who = Principal::owner();
    let word =
        if policies.decide(&who, request, &Disk).is_allowed() { "allowed" } else { "denied" };
    assert!(name.contains(word), "{name}: it is {:?}", policies.decide(&who, request, &Disk));
    print(name, || drop(black_box(policies.decide(&who, black_box(request), &Disk))));
}

fn print(name: &str, mut once: impl FnMut()) {
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begun = Instant::now();
            (0..BATCH).for_each(|_| once());
            begun.elapsed().as_secs_f64() * 1e6 / BATCH as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:<52} {:>9.2} {:>9.2}", times[BATCHES / 2], times[BATCHES * 99 / 100]);
}
