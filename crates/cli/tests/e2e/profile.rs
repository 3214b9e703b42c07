//! Where a process spends its time, by the real binary. Where perf is refused states are told instead: a profile all the same.

use std::process::{Child, Command, Stdio};

use crate::folder;

struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_is_profiled_by_its_number() {
    let it = folder();
    let mut busy = Command::new("sh");
    let busy = busy.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
    let busy = Busy(busy);
    let pid = busy.0.id().to_string();
    let told = it.ganger(&["profile", &pid, "-d", "1s", "-o", "out.folded"]).with_code(0);
    assert!(told.out.contains("FUNCTION"), "{}", told.out);
    let folded = std::fs::read_to_string(it.path().join("out.folded")).unwrap();
    let counted = |line: &str| line.rsplit(' ').next().is_some_and(|n| n.parse::<u64>().is_ok());
    assert!(!folded.is_empty() && folded.lines().all(counted), "{folded}");
    let _ = it.ganger(&["profile", &pid, "-d", "1s", "-o", "out.svg"]).with_code(0);
    assert!(std::fs::read_to_string(it.path().join("out.svg")).unwrap().starts_with("<"));
    let vague = it.ganger(&["profile", &pid, "-o", "out.xyz"]).with_code(2).err;
    assert!(vague.contains("--format"), "{vague}");
    drop(busy);
    let gone = it.ganger(&["profile", &pid, "-d", "1s"]).with_code(4).err;
    assert!(gone.contains(&pid), "{gone}");
}
