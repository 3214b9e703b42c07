//! Reading how many tests passed from what test runners print.

use crate::tally::Tally;

/// Understands libtest (`test result: …`), nextest (`Summary […]`), Node's TAP and Python's unittest. Lines by which a
/// test says that it skipped itself (`skipped: why`) are taken as skips.
pub(crate) fn read(output: &str, tally: &mut Tally) {
    // Nextest runs every test as a libtest program of its own and may show what those print.
    let nextest = output.lines().any(|line| line.trim_start().starts_with("Summary ["));
    for line in output.lines().map(str::trim) {
        if nextest && (line.starts_with("test ") || line.starts_with("Ran ")) {
            continue;
        }
        if let Some(rest) = line.strip_prefix("test result: ") {
            tally.passed += before(rest, " passed").unwrap_or(0);
        } else if line.starts_with("Summary [") {
            tally.passed += before(line, " passed").unwrap_or(0);
        } else if let Some(passed) =
            line.strip_prefix("# pass ").or_else(|| line.strip_prefix("ℹ pass "))
        {
            tally.passed += passed.trim().parse::<u64>().unwrap_or(0);
        } else if let Some(rest) = line.strip_prefix("Ran ") {
            tally.passed += rest.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        } else if let Some(name) = failed_name(line) {
            tally.fail(name);
        } else if line.starts_with("skipped: ") || line.starts_with("skip: ") {
            tally.skip(line.split_once(": ").map_or(line, |(_, why)| why));
        }
    }
    tally.failed.sort();
    tally.failed.dedup();
    tally.skipped.sort();
    tally.skipped.dedup();
}

/// The name in a runner's line about a failed test.
fn failed_name(line: &str) -> Option<String> {
    let libtest = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
    let nextest = ["FAIL [", "TIMEOUT [", "SIGABRT [", "SIGKILL [", "SIGSEGV ["]
        .iter()
        .find_map(|mark| line.strip_prefix(mark))
        .and_then(|rest| rest.split_once("] "))
        .map(|(_, name)| name.split_once(") ").map_or(name, |(_, name)| name).trim());
    let node = line.strip_prefix("not ok ").and_then(|rest| rest.split_once(" - ")).map(|(_, n)| n);
    let python = line.strip_prefix("FAIL: ").or_else(|| line.strip_prefix("ERROR: "));
    libtest.or(nextest).or(node).or(python).map(str::to_owned)
}

/// The number that stands before `word`.
fn before(text: &str, word: &str) -> Option<u64> {
    let at = text.find(word)?;
    text[..at].rsplit([' ', ',', '.']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        read(output, &mut tally);
        tally
    }

    #[test]
    fn libtest_and_nextest() {
        let t = tally(
            "test a::b ... FAILED\ntest result: FAILED. 11 passed; 1 failed; 0 ignored\nskipped: no cgroup v2\n",
        );
        assert_eq!(
            (t.passed, t.failed, t.skipped),
            (11, vec!["a::b".into()], vec!["no cgroup v2".into()])
        );
        let t = tally(
            "test ids::x ... FAILED\ntest result: FAILED. 0 passed; 1 failed\n        FAIL [   0.005s] (12/19) ganger-core ids::x\n     Summary [   0.1s] 19 tests run: 18 passed, 1 failed, 0 skipped\n        FAIL [   0.005s] (12/19) ganger-core ids::x\n",
        );
        assert_eq!((t.passed, t.failed), (18, vec!["ganger-core ids::x".into()]));
    }

    #[test]
    fn node_and_python() {
        let t = tally("# tests 3\n# pass 2\nnot ok 3 - breaks\n");
        assert_eq!((t.passed, t.failed), (2, vec!["breaks".into()]));
        let t = tally("Ran 7 tests in 0.2s\n\nOK\n");
        assert_eq!((t.passed, t.failed.len()), (7, 0));
    }
}
