//! `root;…;leaf count`, a line a stack.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::profile::{Frame, FrameKind, Profile};

pub(super) fn write(profile: &Profile) -> String {
    // Stacks that differ only in what this form does not hold become one line.
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for (stack, count) in profile.stacks() {
        let line = stack.into_iter().map(name).collect::<Vec<_>>().join(";");
        *lines.entry(line).or_default() += count;
    }
    let mut text = String::new();
    for (line, count) in lines {
        let _ = writeln!(text, "{line} {count}");
    }
    text
}

/// A semicolon would end the frame, a line's end the line. The kernel's functions are marked as flame graph tools expect it.
fn name(frame: &Frame) -> String {
    let clean = |c: char| match c {
        ';' => ':',
        c if c.is_control() => ' ',
        c => c,
    };
    let mut name: String = frame.name.chars().map(clean).collect();
    match frame.kind {
        FrameKind::Kernel => name.push_str("_[k]"),
        FrameKind::Compiled => name.push_str("_[j]"),
        _ => {}
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::{frame, sample};

    #[test]
    fn lines_in_order() {
        let mut profile = sample();
        let kernel = frame("do\nit", FrameKind::Kernel);
        profile.add([frame("web", FrameKind::Process), kernel], 4);
        assert_eq!(
            write(&profile),
            "web;<&\":> 1\nweb;do it_[k] 4\nweb;main;cold;hot 2\nweb;main;hot 6\nweb;main;main 1\n"
        );
    }
}
