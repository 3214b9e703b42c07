//! `ganger service-install`: a systemd unit for this folder. It overwrites only what it has written itself.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::validate;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::ui::Ui;

/// `service-install`
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Write a systemd unit that runs what this folder's config says.\n\nWithout --user the unit goes to \
/etc/systemd/system, which root may write; with it to ~/.config/systemd/user. A unit that `ganger service-install` did not write \
is replaced with --force only. Nothing is started: the commands for that are shown."
)]
pub(crate) struct Args {
    /// For this user's own systemd
    #[arg(long)]
    user: bool,
    /// Only print the unit
    #[arg(long)]
    print: bool,
    /// The unit's name
    #[arg(long, value_name = "NAME", default_value = "ganger")]
    name: String,
    /// The user it runs as [default: root, or with --user oneself]
    #[arg(long, value_name = "USER", conflicts_with = "user")]
    run_as: Option<String>,
    /// Replace a unit that somebody else wrote
    #[arg(long)]
    force: bool,
}

/// First line of every unit of ours.
const MARK: &str =
    "# Written by `ganger service-install`, which replaces it; `systemctl edit` is for changes.";
/// Longer than any order of stops one waits for; then systemd kills what is left.
const STOP_TIMEOUT: &str = "5min";

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    validate::load(&place, ui)?;
    check_name(&args.name)?;
    let program = std::env::current_exe()?;
    let path = std::env::var("PATH").ok();
    let text = unit(args, &place, &program, path.as_deref())?;
    if args.print {
        let mut out = ui.out();
        out.line(text.trim_end())?;
        out.done()?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = folder(args.user)?.join(format!("{}.service", args.name));
    install(&file, &text, args.force)?;
    let user = if args.user { " --user" } else { "" };
    ui.talk(&format!("wrote {}", file.display()));
    ui.talk(&format!(
        "next: systemctl{user} daemon-reload && systemctl{user} enable --now {}",
        args.name
    ));
    if args.user {
        ui.talk("for a start at boot, without a login: loginctl enable-linger");
    }
    Ok(ExitCode::SUCCESS)
}

fn check_name(name: &str) -> Result<(), CliError> {
    let proper = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    if !name.is_empty() && name.chars().all(proper) && !name.ends_with(".service") {
        return Ok(());
    }
    Err(CliError::new(Kind::Usage, format!("`{name}` can't be the name of a unit"))
        .help("letters, digits, `_`, `-`, `.` and `@`, without `.service`"))
}

fn folder(user: bool) -> Result<PathBuf, CliError> {
    if !user {
        return Ok("/etc/systemd/system".into());
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    config.map(|dir| dir.join("systemd/user")).ok_or_else(|| {
        CliError::new(Kind::Failed, "neither HOME nor XDG_CONFIG_HOME is set")
            .help("--print shows the unit")
    })
}

/// The unit. Type and kill mode are those the keeper is made for: it says READY, it ends its children in order, and the
/// groups below its own are its to divide.
fn unit(
    args: &Args,
    place: &Place,
    program: &Path,
    path: Option<&str>,
) -> Result<String, CliError> {
    let config = place.need_config()?;
    let folder = config.parent().unwrap_or(Path::new("/"));
    let start = [
        word(&program.to_string_lossy(), true)?,
        "daemon".into(),
        "--file".into(),
        word(&config.to_string_lossy(), true)?,
        "--state-dir".into(),
        word(&place.state_dir.to_string_lossy(), true)?,
    ];
    let mut lines = vec![
        MARK.to_owned(),
        "[Unit]".into(),
        format!("Description=ganger, the foreman of {}", plain(&folder.to_string_lossy())?),
        "After=network-online.target".into(),
        "Wants=network-online.target".into(),
        String::new(),
        "[Service]".into(),
        "Type=notify".into(),
        "NotifyAccess=all".into(),
        format!("ExecStart={}", start.join(" ")),
        format!("WorkingDirectory={}", plain(&folder.to_string_lossy())?),
    ];
    if let Some(path) = path {
        lines.push(format!("Environment={}", word(&format!("PATH={path}"), false)?));
    }
    if let Some(user) = &args.run_as {
        lines.push(format!("User={}", plain(user)?));
    }
    lines.extend([
        "KillMode=mixed".into(),
        "Delegate=yes".into(),
        // One service out of memory is that service's business.
        "OOMPolicy=continue".into(),
        "Restart=on-failure".into(),
        "RestartSec=1s".into(),
        format!("TimeoutStopSec={STOP_TIMEOUT}"),
        String::new(),
        "[Install]".into(),
        format!("WantedBy={}", if args.user { "default.target" } else { "multi-user.target" }),
        String::new(),
    ]);
    Ok(lines.join("\n"))
}

/// A text for a setting that takes the rest of its line.
fn plain(text: &str) -> Result<String, CliError> {
    if text.contains(char::is_control) || text.trim() != text {
        return Err(CliError::new(Kind::Usage, format!("{text:?} can't stand in a unit"))
            .help("give the folder another name"));
    }
    Ok(text.replace('%', "%%"))
}

/// A word for a setting that is split: quoted, specifiers and (for commands) variables taken as they stand.
fn word(text: &str, command: bool) -> Result<String, CliError> {
    let text = plain(text)?.replace('\\', "\\\\").replace('"', "\\\"");
    let text = if command { text.replace('$', "$$") } else { text };
    let simple = |c: char| c.is_ascii_alphanumeric() || "/._-=:+@".contains(c);
    Ok(if text.chars().all(simple) { text } else { format!("\"{text}\"") })
}

/// Writes it, unless a stranger's file is there.
fn install(file: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let failed = |what: &str, error: &io::Error| {
        let message = format!("can't {what} {}: {error}", file.display());
        let told = CliError::new(Kind::Failed, message);
        match error.kind() {
            io::ErrorKind::PermissionDenied => told.help("as root, or with --user"),
            _ => told,
        }
    };
    match std::fs::read_to_string(file) {
        Ok(old) if !old.starts_with(MARK) && !force => {
            return Err(CliError::new(
                Kind::Conflict,
                format!("{} was not written by `ganger service-install`", file.display()),
            )
            .help("--name gives the unit another name, --force replaces it"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound && !force => {
            return Err(failed("read", &error));
        }
        _ => {}
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(|error| failed("make the folder of", &error))?;
    // systemd may read it at any moment: it is there as a whole or not at all.
    let fresh = file.with_extension(format!("service.new-{}", std::process::id()));
    let wrote = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, file));
    wrote.map_err(|error| {
        let _ = std::fs::remove_file(&fresh);
        failed("write", &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(user: bool) -> Args {
        Args { user, print: true, name: "ganger".into(), run_as: None, force: false }
    }

    fn place(folder: &str) -> Place {
        let folder = PathBuf::from(folder);
        Place { config: Some(folder.join("ganger.toml")), state_dir: folder.join(".ganger") }
    }

    #[test]
    fn the_unit_is_as_reviewed() {
        let text = unit(
            &args(false),
            &place("/srv/a b/50%$x"),
            "/usr/bin/ganger".as_ref(),
            Some("/usr/bin:/o\"dd"),
        );
        insta::assert_snapshot!("unit", text.unwrap());
        let mine = unit(&args(true), &place("/srv/app"), "/usr/bin/ganger".as_ref(), None).unwrap();
        assert!(mine.contains("WantedBy=default.target\n") && !mine.contains("Environment="));
        assert!(unit(&args(true), &place("/srv/a\nb"), "/x".as_ref(), None).is_err());
    }

    #[test]
    fn only_its_own_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/er/ganger.service");
        let text = |file: &Path| std::fs::read_to_string(file).unwrap();
        install(&file, &format!("{MARK}\none\n"), false).unwrap();
        install(&file, &format!("{MARK}\ntwo\n"), false).unwrap();
        assert!(text(&file).ends_with("two\n"));
        std::fs::write(&file, "[Unit]\nDescription=mine\n").unwrap();
        assert_eq!(install(&file, MARK, false).unwrap_err().code(), 9);
        assert!(text(&file).contains("mine"));
        install(&file, MARK, true).unwrap();
        assert_eq!(text(&file), MARK);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_are_none() {
        assert!(check_name("ganger@app-1").is_ok());
        for name in ["", "a/b", "x.service", "a b"] {
            assert_eq!(check_name(name).unwrap_err().code(), 2, "{name}");
        }
    }
}
