//! What is tested.

use std::path::Path;
use std::process::{Command, Stdio};

use ganger_testkit::cases::Case;

pub(crate) const ALL: &[Case] = &[
    ("words_are_counted_as_coreutils_count_them", words),
    ("built_in_steps_and_jobs_without_a_second_step", built_in),
    ("a_failed_attempt_counts_for_nothing", failed),
    ("a_task_that_can_t_be_done_is_named_with_its_place", dead),
    ("a_killed_job_goes_on", killed),
    ("killed_children_cost_only_their_attempts", losses),
    ("a_flipped_bit_is_made_good", flipped),
    ("a_reducer_that_reads_nothing_and_a_mapper_of_garbage", odd),
];

fn job(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("role:job").current_dir(folder).stdin(Stdio::null());
    command
}

/// What a job that succeeds says.
fn done(folder: &Path, args: &[&str]) -> String {
    let output = job(folder).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{err}");
    text
}

/// What one that fails says.
fn fails(folder: &Path, args: &[&str]) -> String {
    let output = job(folder).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{args:?}: {text}");
    text
}

fn told(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// All parts, one behind the other, as the manifest names them.
fn result(folder: &Path) -> Vec<u8> {
    let manifest = std::fs::read_to_string(folder.join("_manifest")).unwrap();
    assert!(folder.join("_SUCCESS").exists());
    let part = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let bytes = std::fs::read(folder.join(fields[0])).unwrap();
        assert_eq!(bytes.len().to_string(), fields[1]);
        assert_eq!(format!("{:08x}", crc32fast::hash(&bytes)), fields[2]);
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
    let mut command = Command::new("sh");
    let output =
        command.args(["-c", script]).env("LC_ALL", "C").current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}");
    output.stdout
}

/// A folder with two files of words, the second without a newline at its end.
fn text() -> tempfile::TempDir {
    let it = tempfile::tempdir().unwrap();
    let words = ["the", "rain", "in", "spain", "falls", "mainly", "é", "x1"];
    let line = |n: usize| format!("{} {} {}\n", words[n % 8], words[n * n % 7], words[n / 3 % 5]);
    let text: String = (0..3_000).map(line).collect();
    std::fs::write(it.path().join("a.txt"), &text).unwrap();
    std::fs::write(it.path().join("b.txt"), text[..9_000].trim_end()).unwrap();
    it
}

/// Sums the values of each key, as a streaming reducer does: keys come together.
const SUM: &str = "awk -F '\\t' '$1 != k { if (NR > 1) print k \"\\t\" s; k = $1; s = 0 } { s += $2 } END { if (NR) print k \"\\t\" s }'";
const ONE: &str = "awk '{ for (i = 1; i <= NF; i++) print $i \"\\t1\" }'";

/// Commands, commands with a combiner, and built-in steps count as coreutils do, and write the same bytes whatever the splits, slots and memory.
fn words() {
    let it = text();
    let peer = shell(
        it.path(),
        "for f in a.txt b.txt; do cat $f; echo; done | tr -s ' ' '\\n' | grep . | sort | uniq -c | awk '{print $2 \"\\t\" $1}'",
    );
    let (one, sum) = (format!("map={ONE}"), format!("reduce={SUM}"));
    let combine = format!("combine={SUM}");
    let jobs: [&[&str]; 4] = [
        &[&one, &sum, "split=5000", "slots=3"],
        &[&one, &sum, &combine, "split=20000"],
        &[&one, "reduce=@sum", "combine=@sum", "slots=1", "memory=1"],
        &["map=@words", "reduce=@count", "split=7000"],
    ];
    let mut first = None;
    for (n, job) in jobs.iter().enumerate() {
        let out = format!("output=out{n}");
        let said = done(it.path(), &[job, &["reducers=3", "input=*.txt", &out][..]].concat());
        let had = result(&it.path().join(format!("out{n}")));
        assert_eq!(told(&said, "parts"), 3);
        assert_eq!(told(&said, "lines"), had.split(|byte| *byte == b'\n').count() as u64 - 1);
        assert_eq!(sorted(&had), sorted(&peer), "{job:?}");
        assert_eq!(first.get_or_insert_with(|| had.clone()), &had, "{job:?}");
    }
    assert_eq!(std::fs::read_dir(it.path()).unwrap().count(), 6, "only input and results are left");
}

fn built_in() {
    let it = text();
    let job = |out: &str, args: &[&str]| {
        let output = format!("output={out}");
        done(it.path(), &[args, &["input=a.txt", "split=4000", &output][..]].concat());
        result(&it.path().join(out))
    };
    let peer = |script: &str| shell(it.path(), script);
    assert!(job("sort", &["map=@lines", "reduce=@sort", "reducers=1"]) == peer("sort a.txt"));
    assert!(job("uniq", &["map=cat", "reduce=@distinct", "reducers=1"]) == peer("sort -u a.txt"));
    assert!(job("grep", &["map=@grep:^rain"]) == peer("grep ^rain a.txt"));
    assert!(job("grep2", &["map=grep ^rain || true"]) == peer("grep ^rain a.txt"));
    let numbers = job(
        "max",
        &["map=cat >/dev/null; printf 'k\\t%s\\n' 1.5 -2 10", "reduce=@max", "reducers=1"],
    );
    assert_eq!(numbers, b"k\t10\n");
    let error =
        fails(it.path(), &["input=a.txt", "map=cat", "reduce=@sum", "output=no", "failures=1"]);
    assert!(error.contains("is no number"), "{error}");
}

/// What commands count counts once, although an attempt that failed had counted too.
fn failed() {
    let it = text();
    let script = "map=echo reporter:counter:g,splits,1 >&2; cat; mkdir seen 2>/dev/null && { echo oops >&2; exit 3; }; exit 0";
    let said = done(it.path(), &["input=*.txt", script, "output=out", "split=10000"]);
    assert_eq!((told(&said, "failed"), told(&said, "counter g splits")), (1, told(&said, "maps")));
    assert!(said.contains("exited with code 3; it said last: oops"), "{said}");
    let both = shell(it.path(), "cat a.txt b.txt; echo");
    assert!(result(&it.path().join("out")) == both, "parts of maps are in the order of splits");
}

/// One that dies always is given up: the job fails and names it, or goes on and names it.
fn dead() {
    let it = text();
    std::fs::write(it.path().join("bad.txt"), "poison\n").unwrap();
    let split = format!("split={}", std::fs::metadata(it.path().join("a.txt")).unwrap().len());
    let script = "map=grep -q poison && { echo it is poison >&2; exit 9; }; echo fine";
    let args = ["input=a.txt bad.txt", script, "output=out", &split, "failures=2"];
    let error = fails(it.path(), &args);
    for words in ["error=map 1", "bad.txt bytes 0-7", "exited with code 9", "it is poison"] {
        assert!(error.contains(words), "{error}");
    }
    assert!(!it.path().join("out").exists());
    let said = done(it.path(), &[&args[..], &["keep_going=1", "resume=1"]].concat());
    assert!(said.contains("bad.txt") && told(&said, "resumed") <= 1, "{said}");
    assert_eq!(result(&it.path().join("out")), b"fine\n");
    let listed = std::fs::read_to_string(it.path().join("out/_dead")).unwrap();
    assert!(listed.contains("it is poison"), "{listed}");
}

/// The process is killed in the middle: what was committed does not run again, and the bytes are those of a run that nobody killed.
fn killed() {
    let it = text();
    let gate = it.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    // The third split waits at the gate as long as there is one.
    let script = "map=echo run >> runs; t=$(cat); case $GANGER_TASK in m-2) [ -p gate ] && cat gate;; esac; printf '%s\\n' \"$t\"";
    let args = ["input=*.txt", script, "reduce=cat", "output=out", "split=9000", "slots=1"];
    let mut child = job(it.path()).args(args).stdout(Stdio::null()).spawn().unwrap();
    // Opens when the mapper of the third split has opened it: the first two are committed then.
    let held = std::fs::File::options().write(true).open(&gate).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&gate).unwrap();
    drop(held);
    let runs = || std::fs::read_to_string(it.path().join("runs")).unwrap().lines().count() as u64;
    assert_eq!(runs(), 3);
    assert!(fails(it.path(), &args).contains("--resume"));
    let other = [&["map=cat", "resume=1"], &args[..]].concat();
    assert!(fails(it.path(), &other).contains("is another"));
    let said = done(it.path(), &[&args[..], &["resume=1"]].concat());
    assert_eq!((told(&said, "resumed"), runs()), (2, told(&said, "maps") + 1), "{said}");
    let again = args.map(|arg| if arg == "output=out" { "output=whole" } else { arg });
    done(it.path(), &again);
    assert!(result(&it.path().join("out")) == result(&it.path().join("whole")));
    assert!(fails(it.path(), &args).contains("exists"));
}

/// Mappers that somebody kills are losses of their slots and no failures of their tasks, however many.
fn losses() {
    let it = text();
    // Each split is killed six times, more often than a task may fail.
    let script = "map=n=0; while [ $n -lt 6 ]; do mkdir $GANGER_TASK.$n 2>/dev/null && kill -9 $$; n=$((n+1)); done; cat";
    let said = done(
        it.path(),
        &["input=*.txt", script, "reduce=@sort", "output=out", "split=20000", "reducers=1"],
    );
    assert_eq!(
        (told(&said, "lost"), told(&said, "failed")),
        (told(&said, "maps") * 6, 0),
        "{said}"
    );
    assert!(result(&it.path().join("out")) == shell(it.path(), "(cat a.txt b.txt; echo) | sort"));
}

/// A spill with a byte changed is found, made again by its map, and the result is as it was.
fn flipped() {
    let it = text();
    // The first reducer damages what maps left, and fails.
    let hurt = "reduce=if mkdir once 2>/dev/null; then for f in .out.ganger-job/attempts/map-*; do printf X | dd of=$f bs=1 seek=40 conv=notrunc 2>/dev/null; done; exit 1; fi; exec cat";
    let one = format!("map={ONE}");
    let args = ["input=*.txt", &one, "split=9000"];
    let said = done(it.path(), &[&args[..], &[hurt, "output=out"]].concat());
    assert!(told(&said, "remade") > 0 && said.contains("is damaged"), "{said}");
    done(it.path(), &[&args[..], &["reduce=cat", "output=whole"]].concat());
    assert!(result(&it.path().join("out")) == result(&it.path().join("whole")));
}

/// A command that wants no input is right to; a line without an end is told with its place.
fn odd() {
    let it = text();
    let args = ["input=*.txt", "map=cat", "split=9000"];
    done(it.path(), &[&args[..], &["reduce=exec <&-; echo done", "output=out"]].concat());
    assert_eq!(result(&it.path().join("out")), b"done\ndone\n");
    let endless = "map=head -c 3000000 /dev/zero; cat >/dev/null";
    let error = fails(it.path(), &["input=a.txt", endless, "output=no", "failures=1"]);
    assert!(error.contains("a line longer than 1048576 bytes, at byte 0"), "{error}");
    assert!(!it.path().join("no").exists());
}
