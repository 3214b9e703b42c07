//! Every example has one command that runs it.

use std::os::unix::fs::PermissionsExt;

use crate::root;

#[test]
fn every_example_has_a_run() {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let run = folder.join("run");
        let executable = std::fs::metadata(&run)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 == 0o111);
        if !executable {
            wrong.push(run.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "missing, or not executable: {wrong:?}");
}
