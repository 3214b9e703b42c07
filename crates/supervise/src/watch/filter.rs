//! Which path counts. Pure: paths are compared as they are written.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{NEVER, Watch};

/// Patterns and paths of one service; more are a mistake, and each event is compared with all.
const PATTERNS_MAX: usize = 256;

/// A path or pattern that can't be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` can't be watched: {why}")]
pub struct PatternError {
    /// As given.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// Looks whether something can be watched.
///
/// # Errors
/// The first path or pattern that makes no sense.
pub fn check(watch: &Watch) -> Result<(), PatternError> {
    Filter::new(watch, None).map(drop)
}

/// What counts for one service.
#[derive(Debug)]
pub(super) struct Filter {
    roots: Vec<Root>,
    /// Of full paths.
    ignore: GlobSet,
    /// Of names.
    never: GlobSet,
    /// The daemon's own folder.
    state_dir: Option<PathBuf>,
}

/// A place below which something counts.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Of paths below it; absent: all.
    only: Option<GlobSet>,
    /// So many folders below it can hold what counts.
    depth: usize,
}

impl Filter {
    pub(super) fn new(watch: &Watch, state_dir: Option<&Path>) -> Result<Self, PatternError> {
        let all = watch.paths.len() + watch.ignore.len();
        if all > PATTERNS_MAX {
            let why = format!("with it there are {all}; at most {PATTERNS_MAX}");
            return Err(fault(watch.paths.last().or(watch.ignore.last()), why));
        }
        let roots = watch.paths.iter().map(|path| root(&watch.base, path));
        let mut ignore = GlobSetBuilder::new();
        for pattern in &watch.ignore {
            let (path, rest, anchored) = split(pattern)?;
            // A bare name here is one at any depth.
            let full = match (anchored, rest.is_empty()) {
                (true, true) => at(&watch.base.join(path)),
                (true, false) => format!("{}/{rest}", at(&watch.base.join(path))),
                (false, true) => format!("{}/**/{}", at(&watch.base), at(&path)),
                (false, false) => format!("{}/**/{rest}", at(&watch.base)),
            };
            ignore.add(glob(pattern, &full)?);
        }
        let mut never = GlobSetBuilder::new();
        for name in NEVER {
            never.add(glob(name, name)?);
        }
        let built = |set: GlobSetBuilder| set.build().map_err(|error| fault(None::<&str>, error));
        Ok(Self {
            roots: roots.collect::<Result<_, _>>()?,
            ignore: built(ignore)?,
            never: built(never)?,
            state_dir: state_dir.map(tidy),
        })
    }

    /// Where to begin to look.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| &*root.path)
    }

    /// Something that counts may be in this folder.
    pub(super) fn enters(&self, dir: &Path) -> bool {
        self.roots.iter().any(|root| {
            let below = dir.strip_prefix(&root.path);
            below.is_ok_and(|below| {
                below.components().count() <= root.depth && !self.is_ignored(&root.path, below)
            })
        })
    }

    /// A change of this file counts.
    pub(super) fn counts(&self, file: &Path) -> bool {
        self.roots.iter().any(|root| {
            let Ok(below) = file.strip_prefix(&root.path) else { return false };
            let only = root.only.as_ref().is_none_or(|only| only.is_match(below));
            only && !self.is_ignored(&root.path, below)
        })
    }

    /// It, or a folder between it and the root, is ignored. A root that is named is meant, whatever its name.
    fn is_ignored(&self, root: &Path, below: &Path) -> bool {
        let mut path = root.to_owned();
        if self.ignore.is_match(&path) {
            return true;
        }
        below.components().any(|part| {
            path.push(part);
            self.never.is_match(Path::new(part.as_os_str()))
                || self.ignore.is_match(&path)
                || self.state_dir.as_ref() == Some(&path)
        })
    }
}

fn root(base: &Path, pattern: &str) -> Result<Root, PatternError> {
    let (path, rest, anchored) = split(pattern)?;
    // A bare name in `paths` is a place, not a name at any depth.
    if rest.is_empty() {
        return Ok(Root { path: tidy(base.join(path)), only: None, depth: usize::MAX });
    }
    let all = if anchored { rest.clone() } else { format!("**/{rest}") };
    let depth = if all.contains("**") { usize::MAX } else { rest.matches('/').count() };
    let mut only = GlobSetBuilder::new();
    only.add(glob(pattern, &all)?);
    let only = only.build().map_err(|error| fault(Some(pattern), error))?;
    Ok(Root { path: tidy(base.join(path)), only: Some(only), depth })
}

/// The plain folders at a pattern's front, the pattern behind them, and whether it stands where it is written.
fn split(pattern: &str) -> Result<(PathBuf, String, bool), PatternError> {
    if pattern.is_empty() || pattern.contains('\0') {
        return Err(fault(Some(pattern), "a path is wanted"));
    }
    let special = |part: &str| part.contains(['*', '?', '[', '{']);
    let parts: Vec<&str> = pattern.trim_end_matches('/').split('/').collect();
    let plain = parts.iter().take_while(|part| !special(part)).count();
    let (front, rest) = parts.split_at(plain);
    let mut path = front.join("/");
    if pattern.starts_with('/') && path.is_empty() {
        path.push('/');
    }
    Ok((path.into(), rest.join("/"), pattern.trim_end_matches('/').contains('/')))
}

fn glob(pattern: &str, text: &str) -> Result<globset::Glob, PatternError> {
    let built = GlobBuilder::new(text).literal_separator(true).build();
    built.map_err(|error| fault(Some(pattern), error.kind()))
}

fn fault<S: AsRef<str>>(pattern: Option<S>, why: impl std::fmt::Display) -> PatternError {
    let pattern = pattern.map(|p| p.as_ref().to_owned()).unwrap_or_default();
    PatternError { pattern, why: why.to_string() }
}

/// A place as a pattern that means nothing else.
fn at(path: &Path) -> String {
    globset::escape(tidy(path).to_string_lossy().trim_end_matches('/'))
}

/// Without `.` and `..`, as it is written: nothing is looked up.
fn tidy(path: impl AsRef<Path>) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.as_ref().components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(tidy.pop()),
            part => tidy.push(part),
        }
    }
    tidy
}
