//! What a profile is written as. The same profile is always the same bytes.

mod folded;
mod layout;
mod pprof;
mod speedscope;
mod svg;

use std::str::FromStr;

use crate::profile::Profile;

/// A form to write a profile in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A flame graph in one file, to be opened in a browser: click to zoom, Ctrl-F to search.
    Svg,
    /// A line a stack, `root;…;leaf count`: what most flame graph tools read.
    Folded,
    /// Gzipped protobuf for `go tool pprof`, Pyroscope, Grafana.
    Pprof,
    /// JSON for <https://www.speedscope.app>.
    Speedscope,
}

impl Format {
    /// Of a file by the end of its name.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        [
            (".svg", Self::Svg),
            (".folded", Self::Folded),
            (".txt", Self::Folded),
            (".pb.gz", Self::Pprof),
            (".pprof", Self::Pprof),
            (".speedscope.json", Self::Speedscope),
            (".json", Self::Speedscope),
        ]
        .into_iter()
        .find_map(|(end, format)| path.ends_with(end).then_some(format))
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "svg" => Ok(Self::Svg),
            "folded" => Ok(Self::Folded),
            "pprof" => Ok(Self::Pprof),
            "speedscope" => Ok(Self::Speedscope),
            _ => Err("formats are svg, folded, pprof and speedscope".to_owned()),
        }
    }
}

/// The profile in a form. `title` is shown where the form has a place for it.
#[must_use]
pub fn write(profile: &Profile, format: Format, title: &str) -> Vec<u8> {
    match format {
        Format::Svg => svg::write(profile, title).into_bytes(),
        Format::Folded => folded::write(profile).into_bytes(),
        Format::Pprof => pprof::write(profile),
        Format::Speedscope => speedscope::write(profile, title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::sample;

    #[test]
    fn formats_by_word_and_by_files_end() {
        assert_eq!(Format::of_path("a/out.pb.gz"), Some(Format::Pprof));
        assert_eq!(Format::of_path("x.speedscope.json"), Some(Format::Speedscope));
        assert_eq!(Format::of_path("x.png"), None);
        assert_eq!("folded".parse(), Ok(Format::Folded));
        assert!("png".parse::<Format>().is_err());
    }

    #[test]
    fn the_same_profile_is_the_same_bytes() {
        for format in [Format::Svg, Format::Folded, Format::Pprof, Format::Speedscope] {
            let bytes = write(&sample(), format, "t");
            assert!(!bytes.is_empty());
            assert_eq!(bytes, write(&sample(), format, "t"), "{format:?}");
        }
    }
}
