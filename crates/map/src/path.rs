//! Parts of a path as `{.}`, `{/}`, `{//}` and `{/.}` mean them: on bytes, as GNU parallel cuts them.

/// Which part of a value a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Without the extension.
    NoExtension,
    /// After the last slash.
    Name,
    /// Before the last slash.
    Folder,
    /// After the last slash, without the extension.
    Stem,
}

impl Part {
    /// The part of a value.
    #[must_use]
    pub fn of(self, value: &[u8]) -> Vec<u8> {
        match self {
            Self::Whole => value.to_vec(),
            Self::NoExtension => no_extension(value).to_vec(),
            Self::Name => name(value).to_vec(),
            Self::Folder => folder(value).to_vec(),
            Self::Stem => no_extension(name(value)).to_vec(),
        }
    }
}

/// Up to the last dot that has no slash after it.
fn no_extension(value: &[u8]) -> &[u8] {
    let start = value.len() - name(value).len();
    match memchr::memrchr(b'.', &value[start..]) {
        Some(dot) => &value[..start + dot],
        None => value,
    }
}

fn name(value: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', value).map_or(value, |slash| &value[slash + 1..])
}

/// As dirname(1): trailing slashes are not a part, `.` where there is no folder.
fn folder(value: &[u8]) -> &[u8] {
    let trim = |value: &[u8]| value.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let end = trim(value);
    if end == 0 {
        return if value.is_empty() { b"." } else { b"/" };
    }
    match memchr::memrchr(b'/', &value[..end]) {
        None => b".",
        Some(slash) => match trim(&value[..slash]) {
            0 => b"/",
            end => &value[..end],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_as_gnu_parallel_cuts() {
        // parallel 20221122: echo {.} {/} {//} {/.}
        let cases = [
            ("/a/b.c/d", ["/a/b.c/d", "d", "/a/b.c", "d"]),
            ("b.c/d", ["b.c/d", "d", "b.c", "d"]),
            ("d.tar.gz", ["d.tar", "d.tar.gz", ".", "d.tar"]),
            ("/x", ["/x", "x", "/", "x"]),
            ("/", ["/", "", "/", ""]),
            ("a/", ["a/", "", ".", ""]),
        ];
        for (value, parts) in cases {
            let kinds = [Part::NoExtension, Part::Name, Part::Folder, Part::Stem];
            let got = kinds.map(|part| String::from_utf8(part.of(value.as_bytes())).unwrap());
            assert_eq!(got, parts, "{value}");
        }
    }
}
