//! `ganger run`: exit codes, limits, trees.

use std::time::Instant;

use ganger_testkit::daemon::marked;

use crate::{SOON, folder, up};

#[test]
fn passes_the_childs_code_and_words() {
    let it = folder();
    let said = it.ganger(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).with_code(3);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("out\n", "err\n"));
    let _ = it.ganger(&["run", "true"]).with_code(0);
    let _ = it.ganger(&["run", "--", "no-such-program"]).with_code(127);
    let _ = it.ganger(&["run", "--", "/etc/passwd"]).with_code(126);
    let said = it.ganger(&["run", "--", "sh", "-c", "kill -SEGV $$"]).with_code(139);
    assert!(said.err.contains("SIGSEGV"), "{}", said.err);
    assert!(!it.state_dir().exists(), "no state is left");
}

#[test]
fn a_timeout_ends_the_whole_tree() {
    let it = folder();
    let began = Instant::now();
    let script = "trap '' TERM; (trap '' TERM; setsid sleep 1003 & sleep 1003) & sleep 1003";
    let said = it.ganger(&["run", "--timeout", "300ms", "--", "sh", "-c", script]).with_code(124);
    assert!(said.err.contains("timeout of 300ms"), "{}", said.err);
    assert!(began.elapsed() < SOON);
    assert!(!marked("GANGER_SPAWN=").iter().any(|pid| words(*pid).contains("1003")));
}

#[test]
fn what_a_command_leaves_behind_is_ended() {
    let it = folder();
    let script = "setsid sleep 1004 >/dev/null 2>&1 & echo done";
    let said = it.ganger(&["run", "--", "sh", "-c", script]).with_code(0);
    assert_eq!(said.out, "done\n");
    assert!(!marked("GANGER_SPAWN=").iter().any(|pid| words(*pid).contains("1004")));
}

#[test]
fn a_memory_limit_is_enforced_or_refused() {
    let it = folder();
    let script = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}";
    let said = it.ganger(&["run", "--memory", "32M", "--require", "--", "sh", "-c", script]);
    if said.code == Some(125) {
        assert!(said.err.contains("memory"), "{}", said.err);
        eprintln!("skipped: this user can't have a memory limit here: {}", said.err);
        return;
    }
    let said = said.with_code(137);
    assert!(said.err.contains("memory limit 32MiB reached"), "{}", said.err);
}

#[test]
fn a_sandbox_holds_commands_and_services() {
    let toml = "version = 1\n[service.shut]\nsandbox = { profile = \"standard\", read = [\".\"] }\n\
                shell = \"touch here 2>/dev/null || echo read-only; exec sleep 1005\"\n";
    let script = "(cd /sys/kernel) 2>/dev/null || echo hidden; kill -9 1 2>/dev/null; exit 4";
    let there = folder();
    let said = there.ganger(&["run", "--sandbox", "strict", "--", "sh", "-c", script]);
    if said.code == Some(125) {
        assert!(said.err.contains("layer `"), "{}", said.err);
        return println!("skipped: {}", said.err);
    }
    assert_eq!(said.with_code(4).out, "hidden\n");
    let _ = there.ganger(&["run", "--", "sh", "-c", "cd /sys/kernel"]).with_code(0);
    let it = up(toml);
    it.follow(&["logs", "shut", "-f", "--no-prefix"]).until("its word", SOON, |l| l == "read-only");
    let _ = it.ganger(&["down"]).with_code(0);
}

fn words(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}
