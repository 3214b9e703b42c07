//! `ganger map`: beside GNU parallel, what is left running, job logs, signals.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop at what is wrong")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use ganger_testkit::TempDaemon;
use ganger_testkit::daemon::marked;

use crate::{GANGER, folder, pipe};

/// Runs a program in a folder with this standard input: exit code, standard output, standard error.
fn run(it: &TempDaemon, program: &str, args: &[&str], input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut child = begun(it, program, args);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that reads nothing of it is no failure of the test's.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let code = output.status.code().unwrap_or(-1);
    (code, output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn begun(it: &TempDaemon, program: &str, args: &[&str]) -> Child {
    Command::new(program)
        .args(args)
        .current_dir(it.path())
        .env("PARALLEL_HOME", it.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn map(it: &TempDaemon, args: &[&str], input: &str) -> (i32, String, String) {
    let args = [&["map"], args].concat();
    let (code, out, err) = run(it, GANGER, &args, input.as_bytes());
    (code, String::from_utf8(out).unwrap(), err)
}

/// One of these words is an argument of a living process that ganger started.
fn runs(word: &str) -> bool {
    marked("GANGER_SPAWN=").iter().any(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|had| had == word.as_bytes())
    })
}

fn interrupt(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Command lines and standard input that both programs read the same, byte for byte.
const BOTH: [(&str, &str); 34] = [
    ("-k echo {} ::: a b c", ""),
    ("-k echo", "a\nb c\n\n d\n"),
    ("-k echo x{}y", "a\nb\n"),
    ("-k echo {.} {/} {//} {/.} {} ::: /a/b.c/d b.c/d d.tar.gz /x a/ .x a.b/c", ""),
    ("-k echo {#} {} ::: a b", ""),
    ("-k echo {#} ::: a b", ""),
    ("-k -j1 echo {%} {} ::: a b", ""),
    ("-k echo {1}-{2} ::: a b ::: x y z", ""),
    ("-k echo {2} ::: a b ::: x y", ""),
    ("-k echo {2/.}={1//} ::: a/b ::: c/d.e", ""),
    ("-k echo {-1} {1} ::: a b ::: x", ""),
    ("-k --link echo ::: a b c ::: 1 2", ""),
    ("-k echo ::: a b c :::+ 1 2", ""),
    ("-k echo ::: a b :::+ 1 2 ::: x y", ""),
    ("-k -n2 echo", "1\n2\n3\n4\n5\n"),
    ("-k -N3 echo [{1}-{3}] ::: a b c d e", ""),
    ("-k -n2 echo p-{}-q ::: a b c", ""),
    ("-k -j3 -X echo p-{}-q", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"),
    ("-k -j3 -m echo p-{}-q", "1\n2\n3\n4\n5\n6\n7\n"),
    ("-k -j3 -X -n4 echo", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"),
    ("-k -0 echo {}", "a b\0c\0"),
    ("-k -d , echo {}", "a,b,c"),
    ("-k -C , echo {2}-{1}", "a,b\nc , d\n"),
    ("-k --trim lr echo [{}]", " a \nb\n"),
    ("-k -r echo [{}]", "a\n\nb\n"),
    ("-k --header : echo {x}+{y} ::: x 1 2 ::: y 3", ""),
    ("-k --header : -C , echo {b} {a}", "a,b\n1,2\n3,4\n"),
    ("-k -I _ echo _ {} ::: a b", ""),
    ("-k --tag echo {2} ::: a b ::: c", ""),
    ("-k --tagstring T{} echo ::: a b", ""),
    ("-k --dry-run echo {} ::: a x.y z/w", ""),
    ("-k --pipe -N3 wc -l", "1\n2\n3\n4\n5\n6\n7\n"),
    ("-k --pipe --block 10 cat", "one\ntwo\nthree\nfour\nfive\nsix"),
    ("-k --pipe --recstart > --recend \\n -N2 wc -l", ">a\nx\n>b\n>c\ny\nz\n>d\n"),
];

#[test]
fn the_same_bytes_as_gnu_parallel() {
    let there = Command::new("parallel").arg("--version").output();
    if !there.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).starts_with("GNU parallel")) {
        println!("skipped: GNU parallel is not installed");
        return;
    }
    let it = folder();
    std::fs::write(it.path().join("will-cite"), "").unwrap();
    let mut other = Vec::new();
    for (line, input) in BOTH {
        let args: Vec<&str> = line.split(' ').collect();
        // A shell reads parallel's command: what it must not read is quoted there.
        let (_, theirs, _) = run(&it, "parallel", &[&["-q"], &args[..]].concat(), input.as_bytes());
        let (code, ours, err) = run(&it, GANGER, &[&["map"], &args[..]].concat(), input.as_bytes());
        if theirs != ours || code != 0 {
            let text = String::from_utf8_lossy;
            other.push(format!(
                "{line}: {code}\n{}\nand not\n{}\n{err}",
                text(&ours),
                text(&theirs)
            ));
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}

#[test]
fn exit_codes_and_words() {
    let it = folder();
    assert_eq!(map(&it, &["true", ":::", "a"], "").0, 0);
    assert_eq!(map(&it, &["true"], "").0, 0, "nothing to do");
    let (code, out, err) = map(&it, &["-k", "--shell", "echo {}; exit {}", ":::", "0", "3"], "");
    assert_eq!((code, out.as_str()), (8, "0\n3\n"));
    assert!(err.contains("1 of 2 jobs failed"), "{err}");
    let (code, _, err) = map(&it, &["no-such-program", ":::", "a"], "");
    assert!(code == 8 && err.contains("not on PATH"), "{err}");
    let (code, _, err) = map(&it, &["echo {} | cat", ":::", "a"], "");
    assert!(code == 8 && err.contains("--shell"), "{err}");
    let (code, _, err) = map(&it, &["--sshlogin", "x", "echo", ":::", "a"], "");
    assert!(code == 2 && err.contains("jobs run on this machine"), "{err}");
    assert_eq!(map(&it, &[":::", "a"], "").0, 2);
    assert_eq!(map(&it, &["echo", "{= s/a/b/ =}", ":::", "a"], "").0, 2);
    let (code, _, err) = map(&it, &["-a", "missing", "echo"], "");
    assert!(code == 125 && err.contains("missing"), "{err}");
    let (code, _, err) = map(&it, &["echo"], "a\0b\n");
    assert!(code == 8 && err.contains("NUL"), "{err}");
    assert!(!it.state_dir().exists(), "no state is left");
}

#[test]
fn names_that_are_no_text_reach_jobs() {
    let it = folder();
    let (code, out, _) =
        run(&it, GANGER, &["map", "-0", "-k", "printf", "%s|"], b"a\xff b\0$(x)\n\0");
    assert_eq!((code, out.as_slice()), (0, b"a\xff b|$(x)\n|".as_slice()));
}

#[test]
fn a_resumed_run_goes_by_content() {
    let it = folder();
    let run = |resume: &[&str], values: &[&str]| {
        let base = ["-k", "-j1", "--joblog", "log"];
        let command = ["--shell", "echo {#} {}; test {} != bad", ":::"];
        map(&it, &[&base, resume, &command, values].concat(), "")
    };
    assert_eq!(run(&[], &["a", "bad", "c"]).1, "1 a\n2 bad\n3 c\n");
    // New ones before and between, another order, one twice.
    let later = ["new", "c", "bad", "a", "c"];
    assert_eq!(
        run(&["--resume-failed"], &later),
        (8, "1 new\n3 bad\n5 c\n".into(), "1 of 3 jobs failed\n".into())
    );
    assert_eq!(run(&["--resume"], &later).0, 0);
    assert_eq!(run(&["--resume"], &later).1, "");
    let rows = std::fs::read_to_string(it.path().join("log")).unwrap();
    assert!(rows.starts_with("Seq\tHost\tStarttime\t") && rows.lines().count() == 7, "{rows}");
    // Blocks as well.
    let args = ["-k", "--pipe", "-N1", "--joblog", "blocks", "--resume", "cat"];
    assert_eq!(map(&it, &args, "x\ny\n").1, "x\ny\n");
    assert_eq!(map(&it, &args, "z\ny\nx\n").1, "z\n");
}

#[test]
fn jobs_are_tried_again_and_a_rule_stops_early() {
    let it = folder();
    let script = "echo x >> tries; test $(wc -l < tries) -ge 3 && echo well";
    let (code, out, _) =
        map(&it, &["--retries", "5", "--joblog", "log", "sh", "-c", script, ":::", "a"], "");
    assert_eq!((code, out.as_str()), (0, "well\n"), "what failed tries said is not shown");
    assert_eq!(std::fs::read_to_string(it.path().join("log")).unwrap().lines().count(), 2);
    let (code, out, _) = map(
        &it,
        &[
            "-k",
            "-j1",
            "--halt",
            "soon,fail=1",
            "--shell",
            "echo {}; exit {}",
            ":::",
            "0",
            "1",
            "0",
        ],
        "",
    );
    assert_eq!((code, out.as_str()), (8, "0\n1\n"));
    // The first success ends the other, whose time never comes.
    let (code, _, _) =
        map(&it, &["-j2", "--halt", "now,success=1", "sleep", ":::", "0", "1008"], "");
    assert!(code == 0 && !runs("1008"));
}

#[test]
fn nothing_is_left_running() {
    let it = folder();
    let script = "(setsid sleep 1009 >/dev/null 2>&1 &) ; (env -i setsid sleep 1009 >/dev/null 2>&1 &); echo {}";
    let (code, out, _) = map(&it, &["-k", "-j2", "--shell", script, ":::", "a", "b", "c"], "");
    assert_eq!((code, out.as_str()), (0, "a\nb\nc\n"));
    assert!(!runs("1009"));
    let stubborn = "trap '' TERM; (trap '' TERM; setsid sleep 1010 &) ; sleep 1010";
    let args = ["--timeout", "0.2", "--joblog", "log", "sh", "-c", stubborn, ":::", "a"];
    let (code, _, _) = map(&it, &args, "");
    assert!(code == 8 && !runs("1010"));
    let log = std::fs::read_to_string(it.path().join("log")).unwrap();
    assert!(log.lines().nth(1).is_some_and(|row| row.contains("\t124\t9\t")), "{log}");
}

#[test]
fn an_interrupt_finishes_and_a_second_ends() {
    let it = folder();
    let go = pipe(&it, "go");
    let args = [
        "map",
        "-u",
        "-j1",
        "--joblog",
        "log",
        "--shell",
        "echo on {}; cat go; echo off {}",
        ":::",
        "1",
        "2",
    ];
    let mut child = begun(&it, GANGER, &args);
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut words = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "on 1\n");
    interrupt(&child, rustix::process::Signal::INT);
    line.clear();
    words.read_line(&mut line).unwrap();
    assert!(line.contains("no more jobs"), "{line}");
    drop(std::fs::File::options().write(true).open(&go).unwrap());
    line.clear();
    said.read_to_string(&mut line).unwrap();
    assert_eq!(line, "off 1\n");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_to_string(it.path().join("log")).unwrap().lines().count(), 2);

    for (first, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)]
    {
        let mut child = begun(
            &it,
            GANGER,
            &["map", "-u", "--shell", "echo on; (setsid sleep 1011 &); sleep 1011", ":::", "1"],
        );
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut words = BufReader::new(child.stderr.take().unwrap());
        line.clear();
        said.read_line(&mut line).unwrap();
        interrupt(&child, first);
        if first == rustix::process::Signal::INT {
            line.clear();
            words.read_line(&mut line).unwrap();
            interrupt(&child, first);
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(!runs("1011"));
    }
}

#[test]
fn values_are_used_as_they_come_and_lines_shown_as_they_are() {
    let it = folder();
    let mut child = begun(&it, GANGER, &["map", "--lb", "--tag", "-j1", "cat", "{}", "go"]);
    let go = pipe(&it, "go");
    std::fs::write(it.path().join("first"), "one\n").unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"first\n").unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "first\tone\n", "while the job runs and more input may come");
    drop(std::fs::File::options().write(true).open(&go).unwrap());
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let it = folder();
    let mut child =
        begun(&it, GANGER, &["map", "-j1", "--shell", "echo {}; (setsid sleep 1012 &)"]);
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"x\ny\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert!(!runs("1012"));
}

#[test]
fn files_of_results_and_blocks_of_files() {
    let it = folder();
    let (code, out, _) = map(
        &it,
        &["-k", "--results", "res", "--shell", "echo {}; echo e >&2", ":::", "a/b", "c"],
        "",
    );
    assert_eq!((code, out.as_str()), (0, "a/b\nc\n"));
    let read = |name: &str| std::fs::read_to_string(it.path().join(name)).unwrap();
    assert_eq!(
        (read("res/1/a\\_b/stdout"), read("res/1/c/stderr"), read("res/1/c/seq")),
        ("a/b\n".into(), "e\n".into(), "2".into())
    );
    let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    std::fs::write(it.path().join("lines"), &lines).unwrap();
    let (code, out, _) =
        map(&it, &["-k", "--pipepart", "-a", "lines", "--block", "10K", "cat"], "");
    assert!(code == 0 && out == lines);
    // A block that nobody reads holds nobody up; one that is tried again is whole again.
    assert_eq!(map(&it, &["--pipe", "--block", "1M", "true"], &lines).0, 0);
    let script = "cat > seen; echo x >> n; test $(wc -l < n) = 2 && wc -l < seen";
    assert_eq!(map(&it, &["--pipe", "--retries", "2", "sh", "-c", script], "1\n2\n").1, "2\n");
}

#[test]
fn limits_hold_each_job() {
    let it = folder();
    let script = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}";
    let (code, _, err) =
        map(&it, &["--memory", "32M", "--require", "sh", "-c", script, ":::", "a"], "");
    if err.contains("could not start") || err.contains("cgroup") {
        println!("skipped: this user can't have a memory limit here: {err}");
        return;
    }
    assert_eq!(code, 8);
    assert!(err.contains("memory limit reached"), "{err}");
}
