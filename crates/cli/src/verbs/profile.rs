//! `ganger profile`: where a service, a pool or any process spends its processor time.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ganger_core::Dur;
use ganger_profile::output::{self, Format};
use ganger_profile::{HERTZ, Profile, ProfileError, Wish};
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::{CliError, Kind};
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::target::Target;
use crate::text;
use crate::ui::Ui;

/// Functions in the table.
const TOP: usize = 15;

/// Flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service or pool, one slot of it as in web#2, or a process id
    target: String,
    /// How long
    #[arg(short, long, value_name = "TIME", default_value = "10s")]
    duration: Dur,
    /// Samples a second, up to 1000
    #[arg(short = 'F', long, value_name = "N", default_value_t = HERTZ)]
    frequency: u32,
    /// Write it there: .svg (a flame graph), .folded, .pb.gz (pprof), .speedscope.json; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write it as svg, folded, pprof or speedscope, whatever the file is called
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// Does it.
pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let format = format(args)?;
    let wish = Wish { pids: pids(&args.target, ui)?, time: args.duration.0, hertz: args.frequency };
    let bar = std::io::stderr().is_terminal().then(|| bar(wish.time));
    let profile = ganger_profile::record(&wish, |progress| {
        if let Some(bar) = &bar {
            bar.set_position(u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!("{} samples", progress.samples));
        }
        ControlFlow::Continue(())
    });
    bar.iter().for_each(ProgressBar::finish_and_clear);
    let profile = profile.map_err(|error| match error {
        ProfileError::Gone(_) => CliError::new(Kind::NotFound, error.to_string()),
        ProfileError::Wish(_) => CliError::new(Kind::Usage, error.to_string()),
        ProfileError::System { .. } => CliError::new(Kind::Failed, error.to_string()),
    })?;
    for note in &profile.meta.notes {
        ui.talk(&format!("note: {note}"));
    }
    let Some(path) = &args.output else { return top(&profile, ui) };
    let bytes = output::write(&profile, format.unwrap_or(Format::Svg), &args.target);
    if path.as_os_str() == "-" {
        let mut out = ui.out();
        out.bytes(&bytes)?;
        out.done()?;
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::write(path, &bytes).map_err(|error| {
        CliError::new(Kind::Failed, format!("can't write {}: {error}", path.display()))
    })?;
    let code = top(&profile, ui)?;
    ui.talk(&format!("written to {} ({})", path.display(), text::bytes(bytes.len() as u64)));
    Ok(code)
}

/// What a file is to be; `None`: no file.
fn format(args: &Args) -> Result<Option<Format>, CliError> {
    let Some(path) = &args.output else { return Ok(args.format) };
    let by_name = path.to_str().and_then(Format::of_path);
    let known = args.format.or(by_name).or((path.as_os_str() == "-").then_some(Format::Folded));
    known.map(Some).ok_or_else(|| {
        let what = format!("{} does not say which format it is", path.display());
        CliError::new(Kind::Usage, what)
            .help("name it .svg, .folded, .pb.gz or .speedscope.json, or use --format")
    })
}

/// A number is a process; else what the daemon knows by that name.
fn pids(target: &str, ui: &Ui) -> Result<Vec<u32>, CliError> {
    if let Ok(pid) = target.parse() {
        return Ok(vec![pid]);
    }
    let wanted: Target = target.parse().map_err(|why| CliError::new(Kind::Usage, why))?;
    let all = link::session(ui, async |client| Ok(client.instances().await?))?.instances;
    let named: Vec<_> = all.iter().filter(|one| one.name == wanted.name).collect();
    if named.is_empty() {
        return Err(CliError::new(
            Kind::NotFound,
            format!("there is no service or pool `{target}`"),
        )
        .help("`ganger ps` lists them; any process goes by its number"));
    }
    let mine = named.iter().filter(|one| wanted.slot.is_none_or(|slot| slot == one.slot));
    let pids: Vec<u32> = mine.filter_map(|one| one.pid).collect();
    if pids.is_empty() {
        return Err(CliError::new(Kind::NotFound, format!("{target} has no process now"))
            .help("`ganger ps` says why"));
    }
    Ok(pids)
}

fn bar(time: Duration) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// The costliest functions.
fn top(profile: &Profile, ui: &Ui) -> Result<ExitCode, CliError> {
    let total = profile.total().max(1) as f64;
    let mut table = Table::new(&[right("OWN", 0), right("WITH CALLS", 1), left("FUNCTION", 0)]);
    for function in profile.top(TOP) {
        let percent = |n: u64| format!("{:.1}%", n as f64 * 100.0 / total);
        let name = function.frame.name.to_string();
        table.row(Tone::Plain, vec![percent(function.own), percent(function.total), name]);
    }
    let meta = &profile.meta;
    ui.talk(&format!(
        "{} samples in {:.1} s of {} processes, {} lost",
        meta.samples, meta.seconds, meta.processes, meta.lost
    ));
    if meta.samples == 0 {
        ui.talk("none of them used a processor in that time");
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = ui.out();
    out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    out.done()?;
    Ok(ExitCode::SUCCESS)
}
