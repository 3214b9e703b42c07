//! What must be true after the kills.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::site::{self, MORTAL, Site};
use super::{Story, WORKERS};
use crate::torture::series::Series;
use crate::torture::verdict::Verdict;
use crate::web;

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    reason: String,
}

/// Checks everything; ends the services to read their logs to the end.
pub(super) fn ask(site: &Site, story: &Story, verdict: &mut Verdict) -> Result<()> {
    tell(story);
    let lines = site.ganger.events()?;
    let events = lines.iter().map(|line| Ok(serde_json::from_str(line)?));
    let events: Vec<Event> = events.collect::<Result<_>>()?;
    requests(site, story, &events, verdict);
    let after = site.processes()?;
    let others = story.before.iter().filter(|(who, pid)| after.get(*who) != Some(pid));
    let others: Vec<String> = others
        .map(|(who, pid)| format!("{who}: {pid:?} before, {:?} after", after.get(who)))
        .collect();
    let name = site.mode.name();
    let all = story.before.len();
    verdict.claim(&format!("cluster, {name}: {all} processes are the same"), &others);
    exits(site, story, &events, verdict);
    logs(site, story, verdict)
}

fn requests(site: &Site, story: &Story, events: &[Event], verdict: &mut Verdict) {
    let (name, seen) = (site.mode.name(), &story.seen);
    // What a killed daemon has accepted and not handed over is gone with it.
    let most = usize::from(site.mode.accepts());
    let mut by_kill: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for failed in &seen.failed {
        by_kill.entry(failed.during).or_default().push(failed.to_string());
    }
    let too_many = by_kill.iter().filter(|(kill, all)| **kill == 0 || all.len() > most);
    let too_many: Vec<String> = too_many.flat_map(|(_, all)| all.clone()).collect();
    let claim = format!(
        "cluster, {name}: of {} requests at most {most} failed for each kill ({} in all)",
        seen.requests(),
        seen.failed.len(),
    );
    verdict.claim(&claim, &too_many);
    let told = events.iter().filter(|event| event.kind.starts_with("service.connection_")).count();
    verdict.so(
        &format!("cluster, {name}: each connection that was lost is told by an event"),
        told >= seen.failed.len(),
        &format!("{} lost, {told} told", seen.failed.len()),
    );
    verdict.so(
        &format!("cluster, {name}: all {WORKERS} workers answered"),
        seen.by.len() == WORKERS as usize,
        &format!("{:?}", seen.by),
    );
}

/// Exits that happened without a daemon: each is told once, with its code, in order.
fn exits(site: &Site, story: &Story, events: &[Event], verdict: &mut Verdict) {
    let wanted: Vec<String> = story.kills.iter().map(|kill| kill.code.to_string()).collect();
    let of_mortal = events.iter().filter(|e| e.kind == "instance.exit" && e.name == MORTAL);
    let code = |event: &Event| {
        let rest = event.reason.strip_prefix("exited with code ").unwrap_or(&event.reason);
        rest.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let told: Vec<String> = of_mortal.map(code).collect();
    let (name, all) = (site.mode.name(), wanted.len());
    verdict.so(
        &format!(
            "cluster, {name}: all {all} exits without a daemon are told once, with their codes"
        ),
        told == wanted,
        &format!("exited with {wanted:?}, told are {told:?}"),
    );
}

/// Lines that were written while daemons died.
fn logs(site: &Site, story: &Story, verdict: &mut Verdict) -> Result<()> {
    let mut names: Vec<String> = site::others().collect();
    names.push(web::SERVICE.to_owned());
    let mut stop = vec!["stop"];
    stop.extend(names.iter().map(String::as_str));
    site.ganger.run(&stop)?;
    let (mut broken, mut lines) = (vec![], 0);
    for name in &names {
        let mut series = Series::of(&site.ganger, name)?;
        if name == web::SERVICE {
            served(story, &mut series);
        } else {
            series.check_ends(&site.notes, name, false)?;
        }
        lines += series.lines;
        broken.extend(series.broken.into_iter().map(|what| format!("{name}: {what}")));
    }
    let claim = format!(
        "cluster, {}: of {lines} lines of {} logs none is lost or doubled",
        site.mode.name(),
        names.len()
    );
    verdict.claim(&claim, &broken);
    Ok(())
}

/// A worker writes a line before each answer: as many answers as came are in its log.
fn served(story: &Story, series: &mut Series) {
    for (pid, answers) in &story.seen.by {
        let last = pid.parse().ok().and_then(|pid| series.runs.get(&pid)).map_or(0, |run| run.last);
        if last < *answers {
            series
                .broken
                .push(format!("run {pid}: the log ends at {last}, it gave {answers} answers"));
        }
    }
}

fn tell(story: &Story) {
    let Story { kills, seen, .. } = story;
    let mut gaps: Vec<f64> = kills.iter().map(|kill| kill.gap_ms).collect();
    gaps.sort_by(f64::total_cmp);
    let gap = |share: f64| {
        let at = (gaps.len().saturating_sub(1) as f64 * share) as usize;
        gaps.get(at).copied().unwrap_or(0.0)
    };
    let ms = |share: f64| seen.latency(share).unwrap_or(f64::NAN);
    println!(
        "  {} answers in {:.0} s, {:.0}/s; {} failed; since due p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms; max/mean {:.2}; without a daemon, with the starts of `ganger status`, p50 {:.0} ms, max {:.0} ms",
        seen.answers(),
        seen.took.as_secs_f64(),
        seen.rate(),
        seen.failed.len(),
        ms(0.5),
        ms(0.99),
        ms(1.0),
        web::max_over_mean(&seen.by, WORKERS),
        gap(0.5),
        gap(1.0),
    );
    for failed in seen.failed.iter().take(10) {
        println!("    {failed}");
    }
}
