//! `ganger status`: how ganger is, or one service or pool with its last words.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::{Instance, Listener, Probe, ScheduleSummary, Service, Status};

use super::{Json, ps, reload};
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
    let now = text::now_ms();
    lines.extend(status.reloads.iter().map(|one| format!("reload  {}", reload::summary(one, now))));
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
    for listener in &service.listeners {
        out.line(&format!("listens  {}", listens(listener)))?;
    }
    if let Some(line) = taken(&service.instances) {
        out.line(&format!("taken    {line}"))?;
    } else if let Some(listener) = service.listeners.first() {
        let mode = &listener.mode;
        out.line(&format!("taken    by instance: not known in mode {mode}"))?;
    }
    if let Some(newest) = &service.reload {
        out.line(&format!("reload   {}", reload::summary(newest, text::now_ms())))?;
    }
    if !service.instances.is_empty() {
        out.line("")?;
        let table = ps::table(&service.instances, text::now_ms());
        out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    }
    for instance in &service.instances {
        for line in signs(instance, text::now_ms()) {
            out.line(&line)?;
        }
    }
    last_words(service, &mut out)?;
    out.done()
}

/// What an instance says of itself and what its probes found.
fn signs(instance: &Instance, now_ms: u64) -> Vec<String> {
    let who = format!("{}#{}", instance.name, instance.slot);
    let mut lines = vec![];
    let doing = instance.doing.as_ref().map(|doing| format!("is {doing}"));
    let said = instance.status.as_ref().map(|status| format!("says {}", text::printable(status)));
    let main = instance.main_pid.map(|pid| format!("calls pid {pid} its main process"));
    let says: Vec<_> = [doing, said, main].into_iter().flatten().collect();
    if !says.is_empty() {
        lines.push(format!("{who} {}", says.join("; ")));
    }
    lines.extend(instance.probes.iter().map(|p| format!("{who} {}", probe(p, now_ms))));
    lines
}

fn probe(probe: &Probe, now_ms: u64) -> String {
    let mut line = format!("{} by {}: ", probe.kind, text::printable(&probe.what));
    match probe.ok {
        None => line.push_str("no answer yet"),
        Some(true) => line.push_str("good"),
        Some(false) if probe.failures > 1 => {
            line.push_str(&format!("bad, {} times in a row", probe.failures));
        }
        Some(false) => line.push_str("bad"),
    }
    if let Some(latency) = probe.latency_s {
        line.push_str(&format!(" in {:.1} ms", latency.0 * 1e3));
    }
    if let Some(at) = probe.at {
        let ago = Duration::from_millis(now_ms.saturating_sub(at.0));
        line.push_str(&format!(", {} ago", text::age(ago)));
    }
    if !probe.said.is_empty() {
        line.push_str(&format!(": {}", text::printable(&probe.said)));
    }
    line
}

/// Who took how many connections, where ganger hands them over; elsewhere instances accept them themselves.
fn taken(instances: &[Instance]) -> Option<String> {
    let each = || instances.iter().filter_map(|one| Some((one.slot, one.connections?)));
    let counts: Vec<u64> = each().map(|(_, connections)| connections.taken).collect();
    let (most, all) = (*counts.iter().max()?, counts.iter().sum::<u64>());
    let by: Vec<String> = each().map(|(slot, one)| format!("#{slot} {}", one.taken)).collect();
    let mut line = format!("{}: {}", text::count(all as usize, "connection"), by.join(", "));
    if all > 0 {
        let mean = all as f64 / counts.len() as f64;
        line.push_str(&format!("; max/mean {:.2}", most as f64 / mean));
    }
    let waiting: u64 = each().map(|(_, one)| one.in_flight).sum();
    if waiting > 0 {
        line.push_str(&format!("; {waiting} handed over and not yet taken"));
    }
    Some(line)
}

/// One line of a listener.
fn listens(listener: &Listener) -> String {
    let mut line = format!("{} ({})", listener.address, listener.mode);
    if let Some(slot) = listener.slot {
        line.push_str(&format!(", slot {slot}"));
    }
    match (listener.open, listener.queued, listener.queue_max) {
        (false, ..) => line.push_str(", not open"),
        (true, Some(queued), Some(max)) => {
            line.push_str(&format!(", {queued} of {max} waiting"));
        }
        _ => {}
    }
    line
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
    fn probes_and_words_of_an_instance() {
        let instance: Instance = serde_json::from_value(serde_json::json!({
            "name": "web", "slot": 1, "kind": "service", "state": "running", "ready": true, "pid": 7, "restarts": 0,
            "started_at": null, "reason": "", "next_try_s": null, "status": "12 users", "doing": "reloading", "main_pid": 9,
            "probes": [
                {"kind": "ready", "what": "notify", "ok": null, "said": "", "failures": 0, "checks": 0,
                 "latency_s": null, "at": null},
                {"kind": "live", "what": "http :80/", "ok": false, "said": "HTTP 503 from :80/", "failures": 2,
                 "checks": 9, "latency_s": 0.00123, "at": "1970-01-01T00:00:01.000Z"},
            ],
        }))
        .unwrap();
        let lines = signs(&instance, 5_000);
        assert_eq!(lines[0], "web#1 is reloading; says 12 users; calls pid 9 its main process");
        assert_eq!(lines[1], "web#1 ready by notify: no answer yet");
        let bad =
            "web#1 live by http :80/: bad, 2 times in a row in 1.2 ms, 4s ago: HTTP 503 from :80/";
        assert_eq!(lines[2..], [bad]);
    }

    #[test]
    fn who_took_how_many() {
        let instance = |slot: u32, connections: serde_json::Value| -> Instance {
            serde_json::from_value(serde_json::json!({
                "name": "web", "slot": slot, "kind": "service", "state": "running", "ready": true, "pid": 7, "restarts": 0,
                "started_at": null, "reason": "", "next_try_s": null, "connections": connections,
            }))
            .unwrap()
        };
        let own = |taken: u64, in_flight: u64| serde_json::json!({"taken": taken, "in_flight": in_flight});
        let none = instance(3, serde_json::Value::Null);
        assert_eq!(taken(std::slice::from_ref(&none)), None);
        let all = [instance(1, own(30, 1)), instance(2, own(10, 0)), none];
        let line = "40 connections: #1 30, #2 10; max/mean 1.50; 1 handed over and not yet taken";
        assert_eq!(taken(&all).as_deref(), Some(line));
        assert_eq!(taken(&[instance(1, own(0, 0))]).as_deref(), Some("0 connections: #1 0"));
    }

    #[test]
    fn a_listener_in_a_line() {
        let listener = |value| listens(&serde_json::from_value(value).unwrap());
        let line = listener(serde_json::json!({
            "address": "tcp://:3000", "name": "web", "mode": "reuseport", "slot": 2, "open": true,
            "queued": 3, "queue_max": 4096,
        }));
        assert_eq!(line, "tcp://:3000 (reuseport), slot 2, 3 of 4096 waiting");
        let line = listener(serde_json::json!({
            "address": "unix:///run/w", "name": "web", "mode": "inherit", "open": false,
        }));
        assert_eq!(line, "unix:///run/w (inherit), not open");
    }

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
