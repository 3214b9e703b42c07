//! Hadoop streaming's words for `mapreduce`: its single-dash options become ours, and those that mean nothing here are refused with the reason.

use std::ffi::OsString;

/// Names of Hadoop streaming and ours.
const SAME: [(&str, &str); 13] = [
    ("-input", "--input"),
    ("-output", "--output"),
    ("-mapper", "--map"),
    ("-combiner", "--combine"),
    ("-reducer", "--reduce"),
    ("-numReduceTasks", "--reducers"),
    ("-cmdenv", "--env"),
    ("-D", "--define"),
    ("-jobconf", "--define"),
    ("-file", "--file-here"),
    ("-files", "--file-here"),
    ("-partitioner", "--partitioner"),
    ("-inputformat", "--inputformat"),
];

/// The command line with Hadoop's words in ours. Only what follows the verb `mapreduce` is looked at.
pub(crate) fn ours(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.collect();
    if args.get(1).is_some_and(|verb| verb == "mapreduce") {
        for arg in &mut args[2..] {
            if let Some((_, name)) = SAME.iter().find(|(hadoop, _)| arg == hadoop) {
                *arg = OsString::from(name);
            } else if let Some(name) = arg.to_str().filter(|name| is_refused(name)) {
                // Else its first letter would be looked at.
                *arg = OsString::from(format!("-{name}"));
            }
        }
    }
    args
}

fn is_refused(arg: &str) -> bool {
    arg.starts_with('-') && !arg.starts_with("--") && arg.len() > 2 && refused(arg).is_some()
}

/// Why a word of Hadoop's is not there; `None` for one that nobody knows.
pub(crate) fn refused(option: &str) -> Option<&'static str> {
    let name = option.trim_start_matches('-');
    let found = REFUSED.iter().find(|(names, _)| names.split(' ').any(|known| known == name));
    found.map(|(_, why)| *why)
}

const REFUSED: [(&str, &str); 6] = [
    ("outputformat", "the result is lines; a reducer can write them in any form"),
    ("inputreader", "records are told by --format"),
    ("libjars archives cacheArchive cacheFile", "programs run where they are: nothing is copied"),
    ("mapdebug reducedebug", "the end of what a failed command said is shown with its failure"),
    ("io", "keys and values are text, as `-io text`"),
    ("background info verbose lazyOutput", "it is about Hadoop itself"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_hadoop_are_ours() {
        let ours = |words: &str| -> Vec<String> {
            let args = super::ours(words.split(' ').map(OsString::from));
            args.into_iter().map(|arg| arg.into_string().unwrap()).collect()
        };
        assert_eq!(
            ours("ganger mapreduce -input a -mapper cat -numReduceTasks 2"),
            ["ganger", "mapreduce", "--input", "a", "--map", "cat", "--reducers", "2"]
        );
        assert_eq!(ours("ganger map -input"), ["ganger", "map", "-input"]);
        assert!(refused("-libjars").is_some() && refused("--nothing").is_none());
    }
}
