//! `ganger anomalies`: what the detectors think is unusual or wrong, the worst first.

use std::process::ExitCode;

use ganger_api::{AnomaliesQuery, Anomaly};

use super::Json;
use crate::error::CliError;
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::target::Target;
use crate::text;
use crate::ui::Ui;

/// From here on it is worth a call.
const BAD: f64 = 0.8;

/// Flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service or pool, or one slot of it as in web#2; all when absent
    target: Option<Target>,
    /// Those that are over too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    out: Json,
}

/// Does it.
pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let query = AnomaliesQuery { all: args.all };
    let mut found = link::session(ui, async |client| Ok(client.anomalies(&query).await?))?;
    if let Some(target) = &args.target {
        found.anomalies.retain(|one| {
            one.name == target.name && (target.slot.is_none() || one.slot == target.slot)
        });
    }
    if args.out.json {
        ui.json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.anomalies.is_empty() {
        ui.talk("nothing unusual is seen now; detectors know what is usual after some hours");
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        left("OBJECT", 0),
        left("WHAT", 0),
        right("SCORE", 1),
        left("SINCE", 2),
        left("OVER", 3),
        left("EVIDENCE", 0),
    ];
    let mut table = Table::new(&columns);
    for one in &found.anomalies {
        let tone = match one.closed {
            Some(_) => Tone::Dim,
            None if one.score >= BAD => Tone::Bad,
            None => Tone::Plain,
        };
        table.row(tone, row(one));
    }
    let mut out = ui.out();
    out.line(table.render(ui.width(), ui.data_is_coloured()).trim_end())?;
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn row(one: &Anomaly) -> Vec<String> {
    let slot = one.slot.map_or_else(String::new, |slot| format!("#{slot}"));
    let mut what = format!("{} of {}", one.detector, one.of);
    if one.deploy {
        what.push_str(", after a reload");
    }
    vec![
        format!("{}{slot}", one.name),
        what,
        format!("{:.1}", one.score),
        text::clock(one.since.0),
        one.closed.map_or_else(String::new, |at| text::clock(at.0)),
        text::printable(&one.evidence.join("; ")),
    ]
}
