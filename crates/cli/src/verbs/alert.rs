//! `ganger alert list|show|test|silence|silences|expire`.

use std::process::ExitCode;

use ganger_api::{AlertRow, AlertTestRequest, AlertTested, Alerts, SilenceRequest, Silences};
use ganger_core::Dur;

use super::Json;
use crate::error::CliError;
use crate::link;
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;

/// `alert`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: AlertVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AlertVerb {
    /// List alerts that are pending or fire, and all rules
    #[command(visible_alias = "ls")]
    List(Json),
    /// Show a rule and all that is known about its alerts: since when, against what, why, what to try
    #[command(visible_alias = "get")]
    Show {
        /// The alert
        alert: String,
        #[command(flatten)]
        out: Json,
    },
    /// Say when a rule would have fired, on the samples that are kept
    Test {
        /// The alert
        alert: String,
        /// How far back: 6h, 7d
        #[arg(long, value_name = "TIME", default_value = "1d")]
        since: Dur,
        /// Between two looks [default: 10,000 looks in all, at least 5s]
        #[arg(long, value_name = "TIME")]
        step: Option<Dur>,
        #[command(flatten)]
        out: Json,
    },
    /// Tell nobody of the alerts that all matchers select, for a time
    Silence {
        /// Labels: severity=page, service=~web.*, alertname!=disk
        #[arg(required = true, value_name = "MATCHER")]
        matchers: Vec<String>,
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "2h")]
        hold: Dur,
        /// Why; it stands in the list
        #[arg(short, long, value_name = "TEXT")]
        reason: String,
    },
    /// List silences
    Silences(Json),
    /// End silences
    Expire {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        AlertVerb::List(out) => {
            let all = link::session(ui, async |client| Ok(client.alerts().await?))?;
            if out.json { ui.json(&all)? } else { list(&all, ui)? }
        }
        AlertVerb::Show { alert, out } => show(alert, *out, ui)?,
        AlertVerb::Test { alert, since, step, out } => {
            let step_s = step.map(|step| step.0.as_secs());
            let request = AlertTestRequest { since_s: Some(since.0.as_secs()), step_s };
            let found =
                link::session(ui, async |client| Ok(client.test_alert(alert, &request).await?))?;
            if out.json { ui.json(&found)? } else { tested(&found, ui)? }
        }
        AlertVerb::Silence { matchers, hold, reason } => {
            let (matchers, reason) = (matchers.clone(), reason.clone());
            let request = SilenceRequest { matchers, reason, for_s: hold.0.as_secs() };
            let done = link::session(ui, async |client| Ok(client.silence(&request).await?))?;
            // The id is what scripts go on with.
            let mut out = ui.out();
            for id in &done.done {
                out.line(id)?;
            }
            out.done()?;
            done.notes.iter().for_each(|note| ui.talk(&text::printable(note)));
        }
        AlertVerb::Silences(out) => {
            let all = link::session(ui, async |client| Ok(client.silences().await?))?;
            if out.json { ui.json(&all)? } else { silences(&all, ui)? }
        }
        AlertVerb::Expire { ids } => {
            link::session(ui, async |client| {
                for id in ids {
                    client.expire_silence(id).await?;
                }
                Ok(())
            })?;
            ui.talk(&format!("over: {}", ids.join(", ")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(all: &Alerts, ui: &Ui) -> Result<(), CliError> {
    if all.rules.is_empty() {
        ui.talk("no alerts: add [alert.NAME] when = \"…\" to ganger.toml");
        return Ok(());
    }
    let columns = [
        left("ALERT", 0),
        left("OBJECT", 0),
        left("STATE", 0),
        left("SEVERITY", 2),
        left("SINCE", 1),
        left("VALUE", 0),
    ];
    let mut table = Table::new(&columns);
    for row in &all.alerts {
        let since = row.since.map_or_else(String::new, |at| text::clock(at.0));
        let value = row.value.as_deref().map(text::printable).unwrap_or_default();
        let cells = vec![
            row.rule.clone(),
            row.object.clone(),
            state(row),
            row.severity.clone(),
            since,
            value,
        ];
        table.row(tone(row), cells);
    }
    for rule in all.rules.iter().filter(|rule| rule.states.is_empty()) {
        let calm = vec![
            rule.name.clone(),
            rule.on.clone(),
            "inactive".to_owned(),
            rule.severity.clone(),
            String::new(),
            text::printable(&rule.when),
        ];
        table.row(Tone::Dim, calm);
    }
    print(&table, ui)?;
    if all.waiting > 0 {
        ui.talk(&format!("{} not sent yet", text::count(all.waiting as usize, "message")));
    }
    for lost in &all.undelivered {
        let why = text::printable(&lost.why);
        ui.talk(&format!("{} {} was not told: {why}", text::clock(lost.at.0), lost.receiver));
    }
    Ok(())
}

fn show(alert: &str, out: Json, ui: &Ui) -> Result<(), CliError> {
    let found = link::session(ui, async |client| Ok(client.alert(alert).await?))?;
    if out.json {
        return ui.json(&found);
    }
    let rule = &found.rule;
    let mut lines = ui.out();
    lines.line(&format!("{} [{}]", rule.name, rule.severity))?;
    lines.line(&format!("  when     {}", text::printable(&rule.when)))?;
    lines.line(&format!("  on       {}", rule.on))?;
    lines.line(&format!("  notify   {}", rule.notify.join(", ")))?;
    for row in &found.alerts {
        lines.line("")?;
        lines.line(&format!("{} {}", row.object, state(row)))?;
        for line in row.text.iter().flat_map(|text| text.lines()) {
            lines.line(&text::printable(line))?;
        }
    }
    lines.done()?;
    if found.alerts.is_empty() {
        ui.talk("nothing is wrong by this rule");
    }
    Ok(())
}

fn tested(found: &AlertTested, ui: &Ui) -> Result<(), CliError> {
    if !found.episodes.is_empty() {
        let columns = [left("OBJECT", 0), left("FROM", 0), left("UNTIL", 0), left("VALUE", 1)];
        let mut table = Table::new(&columns);
        for one in &found.episodes {
            let until = one.until.map_or_else(|| "still".to_owned(), |at| text::clock(at.0));
            let value = one.value.as_deref().map(text::printable).unwrap_or_default();
            table.row(Tone::Plain, vec![one.object.clone(), text::clock(one.from.0), until, value]);
        }
        print(&table, ui)?;
    }
    ui.talk(&format!(
        "{} would have fired {}, with {} to each receiver (looked at each {})",
        found.name,
        text::count(found.fired as usize, "time"),
        text::count(found.notifications as usize, "message"),
        Dur(std::time::Duration::from_secs_f64(found.step_s.0.max(0.0)))
    ));
    if !found.not_kept.is_empty() {
        ui.talk(&format!(
            "of the past nothing is kept about {}: taken as missing",
            found.not_kept.join(", ")
        ));
    }
    Ok(())
}

fn silences(all: &Silences, ui: &Ui) -> Result<(), CliError> {
    if all.silences.is_empty() {
        ui.talk("nothing is silenced");
        return Ok(());
    }
    let columns = [
        left("ID", 0),
        left("MATCHERS", 0),
        left("UNTIL", 0),
        right("ALERTS", 1),
        left("BY", 2),
        left("WHY", 0),
    ];
    let mut table = Table::new(&columns);
    for one in &all.silences {
        let cells = vec![
            one.id.clone(),
            text::printable(&one.matchers.join(" ")),
            text::clock(one.ends.0),
            one.alerts.to_string(),
            one.author.clone(),
            text::printable(&one.reason),
        ];
        table.row(Tone::Plain, cells);
    }
    print(&table, ui)
}

fn state(row: &AlertRow) -> String {
    let mut text = row.state.clone();
    if !row.silenced.is_empty() {
        text.push_str(", silenced");
    } else if row.inhibited {
        text.push_str(", inhibited");
    }
    text
}

fn tone(row: &AlertRow) -> Tone {
    match row.state.as_str() {
        _ if !row.silenced.is_empty() || row.inhibited => Tone::Dim,
        "firing" | "flapping" | "keep_firing" => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn print(table: &Table, ui: &Ui) -> Result<(), CliError> {
    let mut out = ui.out();
    out.line(table.render(ui.width(), ui.data_is_coloured()).trim_end())?;
    out.done()
}
