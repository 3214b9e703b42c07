//! `ganger mapreduce`: beside coreutils, what is resumed, what is told, what is left.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop at what is wrong")]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::GANGER;

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn ganger(folder: &Path, args: &[&str]) -> Ended {
    let output = Command::new(GANGER)
        .arg("mapreduce")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn done(folder: &Path, args: &[&str]) -> serde_json::Value {
    let ended = ganger(folder, &[args, &["--json"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// All parts, one behind the other, as the manifest names them.
fn result(folder: &Path) -> Vec<u8> {
    let manifest = std::fs::read_to_string(folder.join("_manifest")).unwrap();
    assert!(folder.join("_SUCCESS").exists());
    let part = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let bytes = std::fs::read(folder.join(fields[0])).unwrap();
        assert_eq!(bytes.len().to_string(), fields[1]);
        bytes
    };
    manifest.lines().flat_map(part).collect()
}

/// The lines of a result in the order of their bytes.
fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

fn shell(folder: &Path, script: &str) -> Vec<u8> {
    let output =
        Command::new("sh").args(["-c", script]).env("LC_ALL", "C").current_dir(folder).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{script}");
    output.stdout
}

/// Two files of words, the second without a newline at its end.
fn text(folder: &Path) {
    let words = ["the", "rain", "in", "spain", "falls", "mainly", "é", "x1"];
    let line = |n: usize| format!("{} {} {}\n", words[n % 8], words[n * n % 7], words[n / 3 % 5]);
    let text: String = (0..3_000).map(line).collect();
    std::fs::write(folder.join("a.txt"), &text).unwrap();
    std::fs::write(folder.join("b.txt"), text[..9_000].trim_end()).unwrap();
}

const WORDS: &str = "tr -s ' ' '\\n'";
/// Sums the values of each key, as a streaming reducer does: keys come together.
const SUM: &str = "awk -F '\\t' '$1 != k { if (NR > 1) print k \"\\t\" s; k = $1; s = 0 } { s += $2 } END { if (NR) print k \"\\t\" s }'";
const ONE: &str = "awk '{ for (i = 1; i <= NF; i++) print $i \"\\t1\" }'";

/// Commands, commands with a combiner, and built-in steps count as coreutils do, and write the same bytes whatever the splits and slots.
#[test]
fn words_are_counted_as_coreutils_count_them() {
    let it = tempfile::tempdir().unwrap();
    text(it.path());
    let peer = shell(
        it.path(),
        &format!(
            "for f in a.txt b.txt; do cat $f; echo; done | {WORDS} | grep . | sort | uniq -c | awk '{{print $2 \"\\t\" $1}}' | sort"
        ),
    );
    let jobs: [&[&str]; 4] = [
        &["--map", ONE, "--reduce", SUM, "--split-size", "5000B", "-j", "3"],
        &["--map", ONE, "--combine", SUM, "--reduce", SUM, "--split-size", "20000B", "-j", "2"],
        &["-mapper", ONE, "-combiner", "@sum", "-reducer", "@sum", "-j", "1"],
        &["--map", "@words", "--reduce", "@count", "--split-size", "7000B"],
    ];
    let mut first = None;
    for (n, job) in jobs.iter().enumerate() {
        let out = format!("out{n}");
        let told =
            done(it.path(), &[*job, &["-r", "3", "--input", "*.txt", "--output", &out]].concat());
        assert_eq!(told["parts"], 3);
        let had = result(&it.path().join(&out));
        assert_eq!(sorted(&had), sorted(&peer), "{job:?}");
        assert_eq!(first.get_or_insert_with(|| had.clone()), &had, "{job:?}");
        assert_eq!(
            told["lines"].as_u64().unwrap(),
            had.iter().filter(|byte| **byte == b'\n').count() as u64
        );
    }
    let left: Vec<_> =
        std::fs::read_dir(it.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 6, "nothing but input and results is left: {left:?}");
}

#[test]
fn built_in_steps_and_jobs_without_a_second_step() {
    let it = tempfile::tempdir().unwrap();
    text(it.path());
    let job = |out: &str, args: &[&str]| {
        done(
            it.path(),
            &[args, &["--input", "a.txt", "--output", out, "--split-size", "4000B"]].concat(),
        );
        result(&it.path().join(out))
    };
    assert_eq!(
        job("sort", &["--map", "@lines", "--reduce", "@sort", "-r", "1"]),
        shell(it.path(), "sort a.txt")
    );
    assert_eq!(
        job("uniq", &["--map", "cat", "--reduce", "@distinct", "-r", "1"]),
        shell(it.path(), "sort -u a.txt")
    );
    assert_eq!(job("grep", &["--map", "@grep:^rain"]), shell(it.path(), "grep ^rain a.txt"));
    assert_eq!(
        job("grep2", &["-mapper", "grep ^rain", "-numReduceTasks", "0"]),
        shell(it.path(), "grep ^rain a.txt")
    );
    assert_eq!(
        job(
            "max",
            &["--map", "sh -c 'printf \"k\\t%s\\n\" 1.5 -2 10'", "--reduce", "@max", "-r", "1"]
        ),
        b"k\t10\n"
    );
}

/// What commands count counts once, although an attempt that failed had counted too.
#[test]
fn a_failed_attempt_counts_for_nothing() {
    let it = tempfile::tempdir().unwrap();
    text(it.path());
    let script = "echo reporter:counter:g,splits,1 >&2; cat; mkdir seen 2>/dev/null && { echo oops >&2; exit 3; }; exit 0";
    std::fs::write(it.path().join("map.sh"), script).unwrap();
    let told = done(
        it.path(),
        &["--input", "*.txt", "--map", "sh map.sh", "--output", "out", "--split-size", "10000B"],
    );
    assert_eq!(
        (&told["failed_attempts"], &told["maps"]),
        (&1.into(), &told["counters"][0]["value"])
    );
    let both = shell(it.path(), "cat a.txt b.txt; echo");
    assert!(
        result(&it.path().join("out")) == both,
        "the parts of a job without a second step are in the order of splits"
    );
}

/// One that dies always is given up: the job fails and names it, or goes on and names it.
#[test]
fn a_task_that_can_t_be_done_is_named_with_its_place() {
    let it = tempfile::tempdir().unwrap();
    text(it.path());
    std::fs::write(it.path().join("bad.txt"), "poison\n").unwrap();
    std::fs::write(
        it.path().join("map.sh"),
        "grep -q poison && { echo it is poison >&2; exit 9; }; echo fine",
    )
    .unwrap();
    let whole = format!("{}B", std::fs::metadata(it.path().join("a.txt")).unwrap().len());
    let args = [
        "--input",
        "a.txt",
        "bad.txt",
        "--map",
        "sh map.sh",
        "--output",
        "out",
        "--split-size",
        &whole,
        "--max-attempts",
        "2",
    ];
    let ended = ganger(it.path(), &args);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(
        ended.err.contains("bad.txt bytes 0-7")
            && ended.err.contains("exited with code 9")
            && ended.err.contains("it is poison"),
        "{}",
        ended.err
    );
    assert!(!it.path().join("out").exists());
    let ended = ganger(it.path(), &[&args[..], &["--keep-going", "--fresh", "--json"]].concat());
    assert_eq!(ended.code, 8, "{}", ended.err);
    let told: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert!(told["dead"][0]["task"].as_str().unwrap().contains("bad.txt"), "{told}");
    assert_eq!(result(&it.path().join("out")), b"fine\n");
    assert!(std::fs::read_to_string(it.path().join("out/_dead")).unwrap().contains("it is poison"));
}

/// The process is killed in the middle: what was committed does not run again, and the bytes are those of a run that nobody killed.
#[test]
fn a_killed_job_goes_on() {
    let it = tempfile::tempdir().unwrap();
    text(it.path());
    let gate = it.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    // The split with this word waits at the gate as long as there is one.
    std::fs::write(it.path().join("map.sh"), "echo run >> runs; t=$(cat); case \"$GANGER_TASK\" in m-2) [ -p gate ] && cat gate >/dev/null;; esac; printf '%s\\n' \"$t\"").unwrap();
    let args = [
        "--input",
        "*.txt",
        "--map",
        "sh map.sh",
        "--reduce",
        "sort -s",
        "--output",
        "out",
        "--split-size",
        "9000B",
        "-j",
        "1",
        "-r",
        "2",
    ];
    let mut child =
        Command::new(GANGER).arg("mapreduce").args(args).current_dir(it.path()).spawn().unwrap();
    // Opens when the mapper of split 2 has opened it: maps 0 and 1 are committed then.
    let held = std::fs::File::options().write(true).open(&gate).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&gate).unwrap();
    drop(held);
    let ended = ganger(it.path(), &args);
    assert!(ended.code == 9 && ended.err.contains("--resume"), "{}", ended.err);
    let other = [&args[..], &["--resume", "-t", ","]].concat();
    let ended = ganger(it.path(), &other);
    assert!(ended.code == 9 && ended.err.contains("is another"), "{}", ended.err);
    let before = std::fs::read_to_string(it.path().join("runs")).unwrap().lines().count();
    assert_eq!(before, 3);
    let told = done(it.path(), &[&args[..], &["--resume"]].concat());
    assert_eq!(told["resumed"], 2);
    let runs = std::fs::read_to_string(it.path().join("runs")).unwrap().lines().count();
    assert_eq!(
        runs as u64,
        told["maps"].as_u64().unwrap() + 1,
        "one split was begun twice, none that was done"
    );
    let had = result(&it.path().join("out"));
    std::fs::rename(it.path().join("out"), it.path().join("had")).unwrap();
    done(it.path(), &args);
    assert!(result(&it.path().join("out")) == had);
}

/// What can be known is told before anything runs.
#[test]
fn what_is_wrong_is_told_before_work_starts() {
    let it = tempfile::tempdir().unwrap();
    text(it.path());
    std::fs::create_dir(it.path().join("there")).unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--input", "*.nothing", "--map", "cat", "--output", "o"], 4, "no file matches"),
        (&["--input", "a.txt", "--map", "cat", "--output", "there"], 9, "exists"),
        (&["--input", "a.txt", "--map", "no-such-program", "--output", "o"], 4, "not on PATH"),
        (&["--input", "a.txt", "--map", "@what", "--output", "o"], 2, "@words"),
        (&["--input", "-", "--map", "cat", "--output", "o"], 2, "standard input"),
        (&["--input", "a.txt", "--map", "cat", "--output", "o", "-libjars", "x"], 2, "libjars"),
        (&["--input", "a.txt", "--map", "cat", "--output", "o", "-D", "x=1"], 2, "not known"),
    ];
    for (args, code, words) in cases {
        let ended = ganger(it.path(), args);
        assert_eq!(ended.code, code, "{args:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{args:?}: {}", ended.err);
    }
    assert!(!it.path().join("o").exists());
}

/// A spill with one bit flipped is found, made again by its map, and the result is as it was.
#[test]
fn a_flipped_bit_is_made_good() {
    let it = tempfile::tempdir().unwrap();
    text(it.path());
    // The first reducer damages what the first map left, before it reads a byte of it itself.
    std::fs::write(it.path().join("hurt.sh"), "if mkdir once 2>/dev/null; then for f in .out.ganger-job/attempts/map-*; do printf X | dd of=$f bs=1 seek=40 conv=notrunc 2>/dev/null; done; exit 1; fi; exec cat").unwrap();
    let args = ["--input", "*.txt", "--map", ONE, "--split-size", "9000B", "-r", "2"];
    let told =
        done(it.path(), &[&args[..], &["--reduce", "sh hurt.sh", "--output", "out"]].concat());
    assert!(told["remade_spills"].as_u64().unwrap() > 0, "{told}");
    done(it.path(), &[&args[..], &["--reduce", "cat", "--output", "whole"]].concat());
    assert!(result(&it.path().join("out")) == result(&it.path().join("whole")));
}
