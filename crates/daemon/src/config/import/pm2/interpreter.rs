//! Who runs a script: PM2's rules, as far as they make sense without its container script.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// PM2's table of endings.
const BY_ENDING: [(&str, &str); 10] = [
    ("js", "node"),
    ("cjs", "node"),
    ("mjs", "node"),
    ("py", "python3"),
    ("rb", "ruby"),
    ("pl", "perl"),
    ("php", "php"),
    ("sh", "bash"),
    ("ts", "bun"),
    ("tsx", "bun"),
];

/// What runs before the script's name; `None`: the script itself is the program.
pub(super) fn for_script(script: &str, cwd: &Path) -> Option<&'static str> {
    let ending = Path::new(script).extension().and_then(|end| end.to_str());
    if let Some((_, name)) = BY_ENDING.iter().find(|(known, _)| Some(*known) == ending) {
        return Some(name);
    }
    let file = cwd.join(script);
    if !file.is_file() || says_itself(&file) { None } else { Some("node") }
}

/// A program, or a script that may run and names its interpreter. What is neither, PM2 gives to node.
fn says_itself(file: &Path) -> bool {
    let mut head = [0; 512];
    let read = std::fs::File::open(file).and_then(|mut file| {
        let may_run = file.metadata()?.permissions().mode() & 0o111 != 0;
        Ok((may_run, file.read(&mut head)?))
    });
    let Ok((may_run, length)) = read else { return true };
    let head = head.get(..length).unwrap_or_default();
    may_run && (head.starts_with(b"#!") || head.contains(&0))
}
