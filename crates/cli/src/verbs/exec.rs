//! `ganger exec POLICY -- ARGS…`: a command under a policy, by the daemon, recorded; its words pass through as they come.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use ganger_api::client::ExecStream;
use ganger_api::{ApiError, Client, ErrorKind, ExecEnd, FrameKind};
use serde_json::{Map, Value, json};

use super::Json;
use crate::error::{CliError, Kind};
use crate::link;
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// `exec`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: the command's own; 6 denied, 10 too often or too many at once, 124 timeout, 125 ganger itself failed, \
126 not executable, 127 not found, 128+N ended by signal N, 137 limit hit."
)]
pub(crate) struct Args {
    /// The policy: [policy.NAME] of the config
    #[arg(value_name = "POLICY")]
    policy: String,
    #[command(flatten)]
    out: Json,
    /// Another user's daemon, by its `exec_socket` [default: the state folder's daemon, else /run/ganger/exec.sock]
    #[arg(long, value_name = "PATH", env = SOCKET_VARIABLE)]
    socket: Option<PathBuf>,
    /// Working folder to ask for
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Variable to ask for
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::policy::variable)]
    env: Vec<(String, String)>,
    /// Standard input: a file that the policy allows, or `-` to pass this one's on, to its end
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<String>,
    /// The arguments, behind `--`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Names the socket where `--socket` does not.
const SOCKET_VARIABLE: &str = "GANGER_EXEC_SOCKET";
/// Where a daemon has its socket for others unless its configuration says otherwise.
const SOCKET: &str = "/run/ganger/exec.sock";

/// The daemon to ask: the socket that was named, the one of the state folder, or the machine's where there is no state folder of ours.
fn client(args: &Args, ui: &Ui) -> Result<Client, CliError> {
    if let Some(socket) = &args.socket {
        return Ok(Client::at_socket(socket));
    }
    let place = Place::find(ui.globals())?;
    let ours = place.state_dir.join(ganger_api::SOCKET_NAME);
    // Neither can be told apart from here where the folder is another user's.
    let elsewhere = ui.globals().state_dir.is_none() && std::fs::symlink_metadata(ours).is_err();
    if elsewhere && Path::new(SOCKET).exists() {
        return Ok(Client::at_socket(SOCKET));
    }
    Ok(Client::new(&place.state_dir))
}

/// What the daemon takes of a standard input.
const STDIN_MAX: u64 = 16 << 20;

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let request = request(args)?;
    let policy = path_part(&args.policy);
    let client = client(args, ui)?;
    let end = link::runtime()?.block_on(async {
        let stream = client.exec(&policy, request).await.map_err(ours)?;
        follow(stream, args.out.json).await
    })?;
    if args.out.json {
        ui.json(&end)?;
    }
    if end.verdict != "allowed" || end.exit.is_none() {
        return Ok(refused(&end, args.out.json, ui));
    }
    for text in remarks(&end) {
        ui.talk(&text);
    }
    Ok(ExitCode::from(end.exit.unwrap_or(Kind::Run as u8)))
}

/// The request's JSON, and behind it its standard input.
fn request(args: &Args) -> Result<Bytes, CliError> {
    let mut all = Map::new();
    let mut words = Vec::with_capacity(args.args.len());
    for arg in &args.args {
        let text = String::from_utf8(arg.clone().into_vec()).map_err(|_| {
            CliError::new(Kind::Denied, "an argument is not UTF-8, which no policy allows")
        })?;
        words.push(Value::String(text));
    }
    all.insert("args".into(), Value::Array(words));
    let mut env = Map::new();
    for (name, value) in &args.env {
        if env.insert(name.clone(), Value::String(value.clone())).is_some() {
            let why = format!("variable `{}` is given twice", text::printable(name));
            return Err(CliError::new(Kind::Denied, why));
        }
    }
    if !env.is_empty() {
        all.insert("env".into(), Value::Object(env));
    }
    all.extend(args.cwd.as_ref().map(|cwd| ("cwd".to_owned(), json!(cwd))));
    let mut input = Vec::new();
    match args.stdin.as_deref() {
        None => {}
        Some("-") => {
            input.push(b'\n');
            std::io::stdin().lock().take(STDIN_MAX + 1).read_to_end(&mut input).map_err(
                |error| CliError::new(Kind::Run, format!("can't read the standard input: {error}")),
            )?;
            if input.len() as u64 > STDIN_MAX + 1 {
                let why = format!("the standard input has more than {STDIN_MAX} bytes");
                return Err(CliError::new(Kind::Run, why)
                    .help("put it into a file that the policy lets it read"));
            }
            all.insert("stdin".into(), json!({ "bytes": input.len() - 1 }));
        }
        Some(file) => drop(all.insert("stdin".into(), json!({ "file": file }))),
    }
    let mut body = Value::Object(all).to_string().into_bytes();
    body.append(&mut input);
    Ok(body.into())
}

/// A name as one part of a path; one that is no policy's name is told so by the daemon.
fn path_part(name: &str) -> String {
    let mut part = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

/// Passes on what it says; gives how it ended. As JSON nothing but the end is printed to stdout, so its words go to stderr.
async fn follow(mut stream: ExecStream, json: bool) -> Result<ExecEnd, CliError> {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    while let Some((kind, bytes)) = stream.next().await.map_err(ours)? {
        match kind {
            FrameKind::Start => {}
            FrameKind::Stdout if !json => {
                // What is written to a terminal is to be seen now.
                stdout.write_all(&bytes).and_then(|()| stdout.flush())?;
            }
            FrameKind::Stdout | FrameKind::Stderr => {
                stderr.write_all(&bytes).and_then(|()| stderr.flush())?;
            }
            FrameKind::End => {
                return serde_json::from_slice(&bytes).map_err(|error| {
                    CliError::new(
                        Kind::Run,
                        format!("the daemon's last word can't be read: {error}"),
                    )
                    .help("command and daemon may be of different versions: `ganger version`")
                });
            }
        }
    }
    let error = ApiError::new(ErrorKind::NoDaemon, "the daemon went away over the run");
    Err(ours(error.hint("the run was ended; `ganger audit tail` tells how")))
}

/// Ganger's own failure, but for what has an exit code that can't be a command's.
fn ours(error: ApiError) -> CliError {
    let kind = error.kind;
    match CliError::from(error) {
        CliError::Told { message, hints, .. }
            if matches!(kind, ErrorKind::Failed | ErrorKind::NoDaemon) =>
        {
            CliError::Told { kind: Kind::Run, message, hints }
        }
        other => other,
    }
}

/// Nothing ran.
fn refused(end: &ExecEnd, told: bool, ui: &Ui) -> ExitCode {
    let kind = match end.verdict.as_str() {
        "denied" => Kind::Denied,
        "limited" => Kind::Full,
        _ => Kind::Run,
    };
    let rule = end.rule.as_ref().map_or(String::new(), |rule| format!(" at {rule}"));
    let code = end.code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
    let message = format!("{}{rule}{code}: {}", end.verdict, text::printable(&end.reason));
    let mut error = CliError::new(kind, message);
    if let Some(allow) = &end.allow {
        error = error.help(format!("what would allow it: {}", text::printable(allow)));
    }
    if let Some(after) = end.retry_after_s {
        error = error.help(format!("try again in {} s", after.0.ceil()));
    }
    if told { ExitCode::from(error.code()) } else { error.show(ui) }
}

/// What a person must know beyond the exit code.
fn remarks(end: &ExecEnd) -> Vec<String> {
    let missing = end.degraded.iter();
    let mut remarks: Vec<String> = missing
        .map(|one| format!("warning: {} not enforced: {}; {}", one.what, one.why, one.fix))
        .collect();
    if !end.left_out.is_empty() {
        remarks.push(format!("note: its policy leaves out the layers {}", end.left_out.join(", ")));
    }
    if let Some(breach) = &end.breach {
        remarks.push(format!(
            "killed: {} limit of {} reached (peak {})",
            breach.limit, breach.allowed, breach.peak
        ));
    } else if end.exit.is_some_and(|code| code >= 125) {
        remarks.push(text::printable(&end.reason));
    }
    if end.code.as_deref() == Some("no_audit") {
        remarks.push(format!("warning: {}", text::printable(&end.reason)));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_leave_its_place_in_the_path() {
        assert_eq!(path_part("git-log"), "git-log");
        assert_eq!(path_part("../status?x=/"), "..%2Fstatus%3Fx%3D%2F");
        assert_eq!(path_part("ü"), "%C3%BC");
    }
}
