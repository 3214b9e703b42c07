//! The grammar: flags every verb has, the verbs, and the help that lists them by purpose.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::error::Kind;
use crate::verbs::Verb;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On terminals, unless NO_COLOR or TERM=dumb says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Flags every verb has.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Globals {
    /// Filled by [`parse`]: `-f FILE`, which `logs` and `events` spell `--file` because their `-f` follows.
    #[arg(skip)]
    pub(crate) file: Option<PathBuf>,
    /// State folder [default: .ganger beside the config file]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "GANGER_STATE_DIR",
        hide_env = true,
        help_heading = GLOBAL
    )]
    pub(crate) state_dir: Option<PathBuf>,
    /// When to colour: auto, always, never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_default_value = true,
        hide_possible_values = true,
        help_heading = GLOBAL
    )]
    pub(crate) color: ColorWhen,
}

/// Name of the config file's flag.
const FILE: &str = "file";
const GLOBAL: &str = "Global options";

/// The foreman of a machine's child processes: services, workers and tasks.
#[derive(Debug, Parser)]
#[command(
    name = "ganger",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Verbs by what one wants; a test checks that each stands in exactly one line of it.
const GROUPS: [(&str, &[&str]); 7] = [
    (
        "Start",
        &[
            "init",
            "import",
            "validate",
            "doctor",
            "up",
            "down",
            "upgrade",
            "daemon",
            "service-install",
        ],
    ),
    (
        "Daily",
        &[
            "ps",
            "status",
            "top",
            "stats",
            "metrics",
            "anomalies",
            "alert",
            "profile",
            "logs",
            "events",
            "start",
            "stop",
            "restart",
            "reload",
            "scale",
            "wait",
        ],
    ),
    ("Talk", &["call", "publish", "subscribe"]),
    ("Tasks", &["push", "why", "task", "queue", "dead", "schedule"]),
    ("One-off", &["run", "map", "mapreduce", "bench"]),
    ("Safety", &["exec", "policy", "audit", "incident", "report"]),
    ("About", &["config", "store", "version"]),
];

/// Reads the command line. Help, version and usage errors are printed here; their exit code comes back.
pub(crate) fn parse() -> Result<(Globals, Verb), ExitCode> {
    let parsed = command()
        .try_get_matches_from(crate::verbs::streaming::ours(std::env::args_os()))
        .and_then(|matches| {
            let mut cli = Cli::from_arg_matches(&matches)?;
            cli.globals.file = file_of(&matches);
            Ok(cli)
        });
    match parsed {
        Ok(cli) => Ok((cli.globals, cli.verb)),
        Err(mut error) => {
            explain(&mut error);
            let _ = error.print();
            Err(if error.use_stderr() {
                ExitCode::from(Kind::Usage as u8)
            } else {
                ExitCode::SUCCESS
            })
        }
    }
}

/// Says why an option that people know from another program is not there.
fn explain(error: &mut clap::Error) {
    let map = std::env::args().skip(1).any(|word| word == "map");
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return };
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    if let Some(why) = crate::verbs::streaming::refused(option)
        .filter(|_| unknown && std::env::args().nth(1).is_some_and(|verb| verb == "mapreduce"))
    {
        let why = vec![format!("`mapreduce` does not have `{option}`: {why}").into()];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(why));
        return;
    }
    if let Some(why) = crate::verbs::refused_by_map(option).filter(|_| map && unknown) {
        let why = vec![format!("`map` does not have `{option}`: {why}").into()];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(why));
    }
}

/// The grammar as clap sees it.
pub(crate) fn command() -> clap::Command {
    let command = with_file(Cli::command());
    let template = help_template(&command);
    command.help_template(template)
}

/// Gives the verb and the verbs below it `--file`, with `-f` wherever that is free.
fn with_file(command: clap::Command) -> clap::Command {
    let taken = command.get_arguments().any(|arg| arg.get_short() == Some('f'));
    let file = Arg::new(FILE)
        .long(FILE)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Config file, or a folder that holds one [default: ./ganger.toml, then ./Procfile]")
        .help_heading(GLOBAL);
    let file = if taken { file } else { file.short('f') };
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names
        .into_iter()
        .fold(command.arg(file), |command, name| command.mut_subcommand(name, with_file))
}

/// The last `--file` on the way from `ganger` to the verb.
fn file_of(matches: &clap::ArgMatches) -> Option<PathBuf> {
    let own = matches.try_get_one::<PathBuf>(FILE).ok().flatten().cloned();
    matches.subcommand().and_then(|(_, below)| file_of(below)).or(own)
}

fn help_template(command: &clap::Command) -> String {
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let mut text = String::from("{about}\n\n{usage-heading} {usage}\n");
    for (title, verbs) in GROUPS {
        text.push_str(&format!("\n{header}{title}:{header:#}\n"));
        for verb in verbs {
            let about = command
                .find_subcommand(verb)
                .and_then(|sub| sub.get_about())
                .map(ToString::to_string)
                .unwrap_or_default();
            text.push_str(&format!("  {literal}{verb:<10}{literal:#} {about}\n"));
        }
    }
    text.push_str("\n{options}\n\nSee `ganger VERB --help` for one verb.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help_of(words: &[&str]) -> String {
        let error = command().try_get_matches_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 0);
        error.to_string()
    }

    #[test]
    fn grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_config_file_is_given_before_or_after_the_verb() {
        let file = |words: &[&str]| file_of(&command().try_get_matches_from(words).unwrap());
        assert_eq!(file(&["ganger", "-f", "x.toml", "ps"]), Some("x.toml".into()));
        assert_eq!(file(&["ganger", "ps", "-f", "x.toml"]), Some("x.toml".into()));
        assert_eq!(file(&["ganger", "queue", "list", "--file", "x.toml"]), Some("x.toml".into()));
        assert_eq!(file(&["ganger", "logs", "-f", "web"]), None);
    }

    #[test]
    fn every_verb_is_listed_once() {
        let mut listed: Vec<&str> =
            GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        listed.sort_unstable();
        let command = command();
        let mut known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        known.sort_unstable();
        assert_eq!(listed, known);
    }

    #[test]
    fn help_is_as_reviewed() {
        insta::assert_snapshot!("help", help_of(&["ganger", "--help"]));
        let command = command();
        for verb in command.get_subcommands() {
            let name = verb.get_name();
            insta::assert_snapshot!(format!("help-{name}"), help_of(&["ganger", name, "--help"]));
            for noun_verb in verb.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let inner = noun_verb.get_name();
                insta::assert_snapshot!(
                    format!("help-{name}-{inner}"),
                    help_of(&["ganger", name, inner, "--help"])
                );
            }
        }
    }

    #[test]
    fn every_read_verb_has_json() {
        let read = [
            "ps",
            "status",
            "logs",
            "events",
            "push",
            "why",
            "call",
            "publish",
            "subscribe",
            "validate",
            "doctor",
            "version",
            "wait",
            "task list",
            "task get",
            "task wait",
            "queue list",
            "queue get",
            "dead list",
            "dead show",
            "dead replay",
            "dead purge",
            "schedule list",
            "schedule show",
            "schedule next",
            "config show",
            "exec",
            "policy list",
            "policy test",
            "policy explain",
            "policy lint",
            "audit verify",
            "audit search",
            "audit tail",
            "incident list",
            "incident show",
        ];
        let command = command();
        for verb in read {
            let mut at = &command;
            for word in verb.split(' ') {
                at = at.find_subcommand(word).unwrap_or_else(|| panic!("no verb {verb}"));
            }
            let json = at.get_arguments().any(|arg| arg.get_long() == Some("json"));
            assert!(json, "{verb} has no --json");
        }
    }

    #[test]
    fn usage_errors_end_with_2() {
        for words in [
            &["ganger"][..],
            &["ganger", "pss"],
            &["ganger", "scale", "web"],
            &["ganger", "wait", "web"],
            &["ganger", "run"],
            &["ganger", "push"],
            &["ganger", "policy", "test"],
            &["ganger", "policy", "test", "p", "--uid", "-1"],
            &["ganger", "policy", "explain"],
            &["ganger", "task", "get", "nonsense"],
        ] {
            let error = command().try_get_matches_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}
