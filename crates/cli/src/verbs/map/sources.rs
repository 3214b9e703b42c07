//! The command and its sources: `gzip {} ::: a b :::: list`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use ganger_map::input::{Source, glob};

use super::Args;
use crate::error::{CliError, Kind};

/// A command line without its options.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) command: Vec<Vec<u8>>,
    /// With each: in step with the one before.
    pub(super) sources: Vec<(Source, bool)>,
}

/// Takes the words apart at `:::` and its like.
pub(super) fn split(words: &[OsString]) -> Result<Words, CliError> {
    let mut command = Vec::new();
    let mut sources: Vec<(Source, bool)> = Vec::new();
    // Of the source that is being read: its words are files.
    let mut files: Option<bool> = None;
    let mut linked = false;
    for word in words {
        let opens = match word.to_str() {
            Some(":::") => Some((false, false)),
            Some("::::") => Some((true, false)),
            Some(":::+") => Some((false, true)),
            Some("::::+") => Some((true, true)),
            _ => None,
        };
        if let Some((of_files, in_step)) = opens {
            (files, linked) = (Some(of_files), in_step);
            if in_step && sources.is_empty() {
                return Err(CliError::new(Kind::Usage, ":::+ needs a source before it"));
            }
            if !of_files {
                sources.push((Source::Words(Vec::new()), in_step));
            }
            continue;
        }
        let bytes = word.clone().into_vec();
        match files {
            None => command.push(bytes),
            Some(true) => sources.push((file(Path::new(word)), linked)),
            Some(false) => {
                if let Some((Source::Words(words), _)) = sources.last_mut() {
                    words.push(bytes);
                }
            }
        }
    }
    Ok(Words { command, sources })
}

fn file(path: &Path) -> Source {
    if path == Path::new("-") { Source::Stdin } else { Source::File(path.to_owned()) }
}

impl Words {
    /// Standard input is where values come from.
    pub(super) fn reads_stdin(&self, args: &Args) -> bool {
        let none = self.sources.is_empty() && args.arg_file.is_empty() && args.glob.is_empty();
        let named = args.arg_file.iter().any(|path| path == Path::new("-"));
        none || named || self.sources.iter().any(|(source, _)| *source == Source::Stdin)
    }

    /// All sources in their order: -a, --glob, then those after the command; standard input where there is none.
    pub(super) fn all(self, args: &Args) -> Result<Vec<(Source, bool)>, CliError> {
        let mut all: Vec<(Source, bool)> =
            args.arg_file.iter().map(|path| (file(path), false)).collect();
        for pattern in &args.glob {
            let found = glob(pattern);
            let found = found.map_err(|error| CliError::new(Kind::Usage, error.to_string()))?;
            match found {
                // Each file is a source of blocks.
                Source::Words(words) if args.pipepart => {
                    all.extend(words.into_iter().map(|word| (Source::Words(vec![word]), false)));
                }
                found => all.push((found, false)),
            }
        }
        all.extend(self.sources);
        if all.is_empty() {
            all.push((Source::Stdin, false));
        }
        if all.iter().filter(|(source, _)| *source == Source::Stdin).count() > 1 {
            return Err(CliError::new(Kind::Usage, "standard input can be one source only"));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn taken_apart() {
        let all = split(&words("gzip -k {} ::: a b :::+ 1 2 :::: list -")).unwrap();
        assert_eq!(all.command, [b"gzip".to_vec(), b"-k".to_vec(), b"{}".to_vec()]);
        let values = |text: &str| {
            Source::Words(words(text).into_iter().map(OsStringExt::into_vec).collect())
        };
        let expected = [
            (values("a b"), false),
            (values("1 2"), true),
            (Source::File("list".into()), false),
            (Source::Stdin, false),
        ];
        assert_eq!(all.sources, expected);
        assert!(split(&words("x :::+ a")).is_err());
    }
}
