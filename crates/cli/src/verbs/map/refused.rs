//! Options of GNU parallel and xargs that `map` does not have: refused by name, with the reason.

/// Why an option is not there; `None` for one that nobody knows.
pub(crate) fn refused(option: &str) -> Option<&'static str> {
    let name = option.split('=').next().unwrap_or(option);
    let found = REFUSED.iter().find(|(names, _)| names.split(' ').any(|known| known == name));
    found.map(|(_, why)| *why)
}

const HOSTS: &str = "jobs run on this machine; other machines are the daemon's and `mapreduce`'s";
const PERL: &str = "marks are not Perl; {} {.} {/} {//} {/.} {#} {%} {2} and {name} are known";
const PARALLEL: &str = "it is about GNU parallel itself";
const DATABASE: &str = "jobs are not kept in a database here; --joblog and --results keep them, and `ganger push` has durable tasks";

const REFUSED: [(&str, &str); 23] = [
    (
        "-S --sshlogin --slf --sshloginfile --filter-hosts --controlmaster --ssh --sshdelay --onall --nonall --tf --transferfile --trc --return --cleanup --basefile --bf",
        HOSTS,
    ),
    ("--sql --sqlmaster --sqlworker --sqlandworker", DATABASE),
    (
        "--rpl --plus --parens -U --extensionreplace --er --basenamereplace --bnr --dirnamereplace --dnr --basenameextensionreplace --bner --seqreplace --slotreplace",
        PERL,
    ),
    (
        "--citation --bibtex --will-cite --minversion --record-env --embed -J --profile --plain",
        PARALLEL,
    ),
    (
        "--semaphore --sem --id --fg --bg --wait --semaphore-name --semaphore-timeout",
        "jobs of different calls don't wait for each other; a queue with a concurrency of its own does (`ganger push`)",
    ),
    (
        "--tmux --tmuxpane --fifo --cat",
        "jobs have no terminal of their own, and blocks come as standard input",
    ),
    ("--round-robin --roundrobin", "a block is one job; make it larger with --block"),
    ("--regexp --regex", "--recstart and --recend are plain text"),
    ("--remove-rec-sep --removerecsep --rrs", "records reach jobs as they were"),
    ("--csv", "values are cut by --colsep; quoted fields are not read"),
    (
        "--shard --shardkey --bin --group-by --groupby",
        "records go to jobs by their order; by their content they go with `ganger mapreduce`",
    ),
    ("--tee", "every block goes to one job"),
    ("--shuf", "the order is the input's; use shuf(1) before it"),
    ("--keep-order-limit --limit", "starts are held up by --load, --memfree and --delay"),
    (
        "--memsuspend --noswap --swap",
        "jobs are not suspended; --memory limits them and --memfree waits",
    ),
    ("--compress --compress-program --decompress-program", "what jobs say waits on disk as it is"),
    ("--files --files0", "use --results, which keeps the files"),
    (
        "--latest-line --ll --color --ctag --color-failed --cf --ctagstring",
        "use --tag or --line-buffer",
    ),
    (
        "--termseq --hgrp --hostgroups",
        "a job gets TERM and half a second later KILL, with all its processes",
    ),
    ("-p --interactive --tty --open-tty -o", "nobody is asked: jobs have no terminal"),
    (
        "--skip-first-line --total-jobs --total --unquote --uq --tollef --gnu --shell-quote --shellquote --parset",
        "it has no counterpart here",
    ),
    ("-t --verbose -v -vv", "use --dry-run to see commands, --joblog for those that ran"),
    (
        "-x --exit -E -e --eof -l -i --max-line-length-allowed --show-limits",
        "values end with their input, and those that are too long are refused",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_by_name_and_none_of_our_own() {
        assert!(refused("--sshlogin").is_some_and(|why| why.contains("this machine")));
        assert!(refused("--tmuxpane=x").is_some());
        assert!(refused("--no-such").is_none());
        let command = crate::grammar::command();
        let map = command.find_subcommand("map").unwrap();
        for arg in map.get_arguments() {
            let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
            assert!(
                longs
                    .iter()
                    .all(|long| refused(&format!("--{long}")).is_none() || *long == "color"),
                "{longs:?}"
            );
        }
    }
}
