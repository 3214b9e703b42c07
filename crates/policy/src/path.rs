//! Paths as text: what can be refused without looking at a file system, and the one form in which a path is launched.
//!
//! ```text
//! "a//./b/" + folder "/srv/in" ─ no "..", no NUL, lengths ─ "/srv/in" | "a/b" + "/" ─ opened beneath the folder by the launcher
//! ```
//!
//! What a path *is* (a symbolic link out of the folder, a device) only opening it tells: a [`Beneath`] is an order to open
//! `relative` beneath `root` without following links, never a promise.

use serde::Serialize;

/// PATH_MAX of Linux less its terminating zero.
const PATH_BYTES_MAX: usize = 4_095;
/// NAME_MAX of Linux.
const NAME_BYTES_MAX: usize = 255;

/// A path beneath a folder, in its one form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beneath {
    /// The folder: absolute and plain.
    pub root: String,
    /// Components below it, without `.` and `..`; empty for the folder itself.
    pub relative: String,
    /// It was written with a slash at its end, which means something to some programs.
    pub slash: bool,
}

impl Beneath {
    /// The absolute path as the program gets it. It begins with a slash, so it can't be taken for an option.
    #[must_use]
    pub fn absolute(&self) -> String {
        let root = self.root.trim_end_matches('/');
        let mut text = format!("{root}/{}", self.relative);
        if self.relative.is_empty() && !root.is_empty() {
            text.pop();
        }
        if self.slash && !text.ends_with('/') {
            text.push('/');
        }
        text
    }
}

/// Why a text is no path that could be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    /// Nothing.
    #[error("a path can't be empty")]
    Empty,
    /// Goes up.
    #[error("`..` in a path is refused: with a link on the way it leads elsewhere than it reads")]
    Parent,
    /// Too long, in whole or in a part.
    #[error(
        "the path is longer than {PATH_BYTES_MAX} bytes, or a name in it than {NAME_BYTES_MAX}"
    )]
    Long,
    /// Elsewhere.
    #[error("the path is not beneath the folder that is allowed")]
    Outside,
    /// It can't be resolved, because there is no folder to start from.
    #[error("the path is not absolute")]
    Relative,
}

/// Reads a path that has to lie beneath `root`. A relative one starts at `base`, which is absolute.
///
/// # Errors
/// [`NoPath`].
pub fn beneath(text: &str, base: &str, root: &str) -> Result<Beneath, NoPath> {
    if text.is_empty() {
        return Err(NoPath::Empty);
    }
    let slash = text.ends_with('/');
    let whole =
        if text.starts_with('/') { plain(text)? } else { plain(&format!("{base}/{text}"))? };
    let root = plain(root)?;
    let below = whole.strip_prefix(root.trim_end_matches('/')).ok_or(NoPath::Outside)?;
    match below.strip_prefix('/') {
        Some(relative) => Ok(Beneath { relative: relative.to_owned(), root, slash }),
        None if below.is_empty() => Ok(Beneath { relative: String::new(), root, slash }),
        None => Err(NoPath::Outside),
    }
}

/// An absolute path without `.`, doubled slashes and a slash at its end.
///
/// # Errors
/// [`NoPath`]: relative, with `..`, or too long.
pub fn plain(text: &str) -> Result<String, NoPath> {
    if !text.starts_with('/') {
        return Err(if text.is_empty() { NoPath::Empty } else { NoPath::Relative });
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(NoPath::Long);
    }
    let mut out = String::with_capacity(text.len());
    for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
        if name == ".." {
            return Err(NoPath::Parent);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NoPath::Long);
        }
        out.push('/');
        out.push_str(name);
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// True for an absolute path in its one form.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    plain(text).is_ok_and(|plain| plain == text)
}

/// The last name of a path.
#[must_use]
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        let at = |text| beneath(text, "/srv/in/sub", "/srv/in").map(|path| path.absolute());
        assert_eq!(at("a"), Ok("/srv/in/sub/a".into()));
        assert_eq!(at("./a//b/./c"), Ok("/srv/in/sub/a/b/c".into()));
        assert_eq!(at("-rf"), Ok("/srv/in/sub/-rf".into()));
        assert_eq!(at("/srv/in/x/"), Ok("/srv/in/x/".into()));
        assert_eq!(at("/srv/in"), Ok("/srv/in".into()));
        assert_eq!(at("/srv//in/."), Ok("/srv/in".into()));
        assert_eq!(beneath("/", "/", "/").map(|path| path.absolute()), Ok("/".into()));
        assert_eq!(beneath("etc", "/", "/").map(|path| path.absolute()), Ok("/etc".into()));
    }

    #[test]
    fn what_leads_out_is_refused() {
        let at = |text: &str| beneath(text, "/srv/in", "/srv/in").unwrap_err();
        assert_eq!(at("../../etc/passwd"), NoPath::Parent);
        assert_eq!(at("a/../../../etc/passwd"), NoPath::Parent);
        assert_eq!(at("/etc/passwd"), NoPath::Outside);
        assert_eq!(at("/srv/in2/x"), NoPath::Outside);
        assert_eq!(at("/srv/i"), NoPath::Outside);
        assert_eq!(at("/proc/self/root/srv/in/x"), NoPath::Outside);
        assert_eq!(at(""), NoPath::Empty);
        assert_eq!(at(&"n".repeat(256)), NoPath::Long);
        assert_eq!(at(&"n/".repeat(3_000)), NoPath::Long);
        assert!(beneath(&"n".repeat(255), "/srv/in", "/srv/in").is_ok());
    }
}
