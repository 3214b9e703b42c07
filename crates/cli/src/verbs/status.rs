//! `ganger status`: how ganger is, or one service or pool with its last words.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::{ScheduleSummary, Service, Status};

use super::{Json, ps};
use crate::error::CliError;
use crate::link;
use crate::text;
use crate::ui::{Out, Ui};

/// `status`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service or pool; without it, ganger itself
    name: Option<String>,
    #[command(flatten)]
    out: Json,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.name {
        None => {
            let status = link::session(ui, async |client| Ok(client.status().await?))?;
            if args.out.json {
                ui.json(&status)?;
            } else {
                let mut out = ui.out();
                out.line(&whole(&status))?;
                out.done()?;
            }
        }
        Some(name) => {
            let service = link::session(ui, async |client| Ok(client.service(name).await?))?;
            if args.out.json { ui.json(&service)? } else { one(&service, ui)? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn whole(status: &Status) -> String {
    let pid = |pid: Option<u32>| pid.map_or_else(|| "none".to_owned(), |pid| format!("pid {pid}"));
    let up = text::age(Duration::from_secs_f64(status.daemon.uptime_s.0.clamp(0.0, 1e9)));
    let config = match (&status.config_file, status.config_differs) {
        (None, _) => "none applied yet".to_owned(),
        (Some(file), false) => file.clone(),
        (Some(file), true) => format!("{file} (changed since it was applied; `ganger up -d`)"),
    };
    let mut lines = vec![
        format!("daemon  pid {}, version {}, up {up}", status.daemon.pid, status.daemon.version),
        format!("keeper  {}", pid(status.keeper.pid)),
        format!("logger  {}", pid(status.logger.pid)),
        format!("state   {}", status.state_dir),
        format!("config  {config}"),
    ];
    if let Some(schedules) = &status.schedules {
        lines.push(summary(schedules));
    }
    for group in &status.groups {
        let why =
            if group.reason.is_empty() { String::new() } else { format!(": {}", group.reason) };
        lines.push(format!("group   {} ({}) {}{why}", group.name, group.strategy, group.state));
    }
    if let Some(why) = &status.api_only {
        lines.push(format!("error   the daemon only answers: {why}"));
    }
    for item in &status.degraded {
        lines.push(format!("degraded  {}: {}; fix: {}", item.what, item.why, item.fix));
    }
    lines.join("\n")
}

fn summary(schedules: &ScheduleSummary) -> String {
    let mut line = format!("cron    {}", text::count(schedules.total as usize, "schedule"));
    for (n, what) in [(schedules.paused, "paused"), (schedules.waiting, "waiting")] {
        if n > 0 {
            line.push_str(&format!(", {n} {what}"));
        }
    }
    line.push_str(&format!(", {} fired, {} skipped", schedules.fired, schedules.skipped));
    if let (Some(name), Some(at)) = (&schedules.next, schedules.next_at) {
        line.push_str(&format!("; next {name} at {at}"));
    }
    line
}

fn one(service: &Service, ui: &Ui) -> Result<(), CliError> {
    let mut out = ui.out();
    let stopped = if service.stopped { ", stopped by hand" } else { "" };
    out.line(&format!(
        "{} ({}), {}{stopped}",
        service.name,
        service.kind,
        text::count(usize::try_from(service.replicas).unwrap_or(0), "instance")
    ))?;
    out.line(&format!("runs  {}", service.command.join(" ")))?;
    if !service.instances.is_empty() {
        out.line("")?;
        let table = ps::table(&service.instances, text::now_ms());
        out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    }
    last_words(service, &mut out)?;
    out.done()
}

fn last_words(service: &Service, out: &mut Out) -> Result<(), CliError> {
    if service.last_lines.is_empty() {
        return Ok(());
    }
    out.line("\nlast lines")?;
    for line in &service.last_lines {
        out.line(&format!(
            "{}  {}#{} │ {}",
            text::clock(line.ts.0),
            line.name,
            line.slot,
            text::printable(&line.line)
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_text() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "v": 1, "daemon": {"pid": 12, "version": "0.1.0", "uptime_s": 75.2}, "keeper": {"pid": 10},
            "logger": {"pid": null}, "state_dir": "/srv/.ganger", "config_file": "/srv/ganger.toml",
            "config_differs": true,
            "degraded": [{"what": "memory limit", "why": "no memory controller", "fix": "boot with cgroup v2"}],
        }))
        .unwrap();
        insta::assert_snapshot!(whole(&status));
    }
}
