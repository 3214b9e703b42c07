//! `ganger policy list|test|explain|lint`: reads the config file and decides, without a daemon and without running anything.

mod told;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use ganger_policy::{Disk, Input, Policies, Principal, REQUEST_BYTES_MAX, Request, Target};

use super::{Json, validate};
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// `policy`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: PolicyVerb,
}

#[derive(Debug, clap::Subcommand)]
enum PolicyVerb {
    /// List the policies of the config file
    #[command(visible_alias = "ls")]
    List(Json),
    /// Decide arguments under a policy; runs nothing [exit: 0 allowed, 6 denied]
    Test(Test),
    /// Say which policy and rule decide a command, and what would be launched [exit: 0 allowed, 6 denied]
    Explain(Explain),
    /// Name what is doubtful: dangerous options, wide patterns and folders, untrusted programs [exit: 3 for warnings and errors]
    Lint(Json),
}

#[derive(Debug, clap::Args)]
struct Test {
    /// The policy
    #[arg(value_name = "POLICY", required_unless_present = "request")]
    policy: Option<String>,
    #[command(flatten)]
    asked: Asked,
    /// Read the whole request as JSON from this file, `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "args", "cwd", "env", "stdin"])]
    request: Option<PathBuf>,
    /// The arguments, behind `--`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<std::ffi::OsString>,
}

#[derive(Debug, clap::Args)]
struct Explain {
    #[command(flatten)]
    asked: Asked,
    /// Program and arguments, behind `--`; the program by its absolute path, or by its name if one policy's program has it
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

/// What a request has besides arguments, and who makes it.
#[derive(Debug, clap::Args)]
struct Asked {
    #[command(flatten)]
    out: Json,
    /// Decide for this user id [default: the user that ganger runs as]
    #[arg(long, value_name = "UID", value_parser = ganger_policy::id)]
    uid: Option<u32>,
    /// Decide for a member of this group
    #[arg(long, value_name = "GID", value_parser = ganger_policy::id)]
    gid: Vec<u32>,
    /// Decide for this token
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
    /// Working folder to ask for
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Variable to ask for
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Standard input to ask for: a file, or `bytes:N`
    #[arg(long, value_name = "FILE|bytes:N")]
    stdin: Option<String>,
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let policies = load(ui)?;
    match &args.verb {
        PolicyVerb::List(out) => told::list(&policies, *out, ui),
        PolicyVerb::Lint(out) => told::findings(&policies, *out, ui),
        PolicyVerb::Test(test) => {
            let request = match (&test.request, &test.policy) {
                (Some(file), _) => read_request(file)?,
                (None, policy) => {
                    let policy = policy.clone().unwrap_or_default();
                    if !policies.iter().any(|(name, _)| name == policy) {
                        return Err(no_policy(&policy, &policies));
                    }
                    test.asked.request(Target::Policy(policy), &test.args)?
                }
            };
            told::verdict(
                &policies.decide(&test.asked.principal(), &request, &Disk),
                test.asked.out,
                ui,
            )
        }
        PolicyVerb::Explain(explain) => {
            let (program, args) = explain.command.split_first().ok_or_else(|| {
                CliError::new(Kind::Usage, "nothing to explain: write the command behind `--`")
            })?;
            let target = Target::Program(program.as_encoded_bytes().to_vec());
            let request = explain.asked.request(target, args)?;
            told::verdict(
                &policies.decide(&explain.asked.principal(), &request, &Disk),
                explain.asked.out,
                ui,
            )
        }
    }
}

/// The policies of the config file, with their programs looked at. Its other warnings are `validate`'s.
fn load(ui: &Ui) -> Result<Policies, CliError> {
    let place = Place::find(ui.globals())?;
    let path = place.need_config()?;
    let loaded =
        ganger_daemon::config::load(path).map_err(|errors| validate::refused(&errors, ui))?;
    let mut policies = Policies::new(loaded.config.policies).map_err(|faults| {
        let all: Vec<_> = faults.iter().map(ToString::to_string).collect();
        CliError::new(Kind::Config, all.join("; "))
    })?;
    policies.pin(&Disk);
    Ok(policies)
}

fn no_policy(name: &str, policies: &Policies) -> CliError {
    let names: Vec<_> = policies.iter().map(|(name, _)| name).collect();
    let there =
        if names.is_empty() { "the config file has none".to_owned() } else { names.join(", ") };
    CliError::new(Kind::NotFound, format!("there is no policy `{}`", text::printable(name)))
        .help(format!("policies: {there}"))
}

fn read_request(file: &PathBuf) -> Result<Request, CliError> {
    let fail = |error: std::io::Error| {
        CliError::new(Kind::Failed, format!("can't read the request {}: {error}", file.display()))
    };
    let mut bytes = Vec::new();
    // One byte more than may be, so that what is too long is seen to be.
    let most = REQUEST_BYTES_MAX as u64 + 1;
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        std::fs::File::open(file)
            .map_err(fail)?
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(fail)?;
    }
    ganger_policy::request(&bytes).map_err(|error| CliError::new(Kind::Denied, error.to_string()))
}

impl Asked {
    /// Whoever is asked for; without that whoever asks, with the ids that a connection of theirs would have.
    fn principal(&self) -> Principal {
        let mine = rustix::process::geteuid().as_raw();
        let nobody_named = self.uid.is_none() && self.gid.is_empty() && self.token.is_none();
        let mut gids = self.gid.clone();
        if nobody_named {
            let groups = rustix::process::getgroups().unwrap_or_default();
            gids.push(rustix::process::getegid().as_raw());
            gids.extend(groups.into_iter().map(rustix::process::Gid::as_raw));
        }
        let uid = if nobody_named { Some(mine) } else { self.uid };
        Principal { owner: uid == Some(mine), uid, gids, token: self.token.clone() }
    }

    fn request(&self, target: Target, args: &[std::ffi::OsString]) -> Result<Request, CliError> {
        let mut env = BTreeMap::new();
        for (name, value) in &self.env {
            if env.insert(name.clone(), value.clone()).is_some() {
                let why = format!("variable `{}` is given twice", text::printable(name));
                return Err(CliError::new(Kind::Denied, why));
            }
        }
        let stdin = match &self.stdin {
            None => Input::None,
            Some(text) => match text.strip_prefix("bytes:") {
                Some(count) => Input::Bytes(count.parse().map_err(|_| {
                    CliError::new(
                        Kind::Usage,
                        format!("`{}` is no number of bytes", text::printable(count)),
                    )
                })?),
                None => Input::File(text.clone()),
            },
        };
        let args = args.iter().map(|arg| arg.as_encoded_bytes().to_vec()).collect();
        Ok(Request { target, args, env, cwd: self.cwd.clone(), stdin })
    }
}
