//! `GET /alerts…`, `POST /alerts/{name}/test`, `GET|POST /silences…`: rules, who is told, who is left alone.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use ganger_alert::notify::message;
use ganger_alert::{Labels, Matcher, Rule, Silence};
use ganger_api::{
    AlertEpisode, AlertShow, AlertTestRequest, AlertTested, Alerts, ApiError, ErrorKind,
    SilenceRequest, Silences, Timestamp, V1, VerbAnswer,
};

use super::error::{Answer, Fault, not_found, usage};
use super::extract::Body;
use super::peer::Peer;
use crate::alerts::{Gone, forgotten, row};
use crate::app::{App, Full};

/// The past of a test when none is asked for.
const SINCE_S: u64 = 86_400;
/// The longest: as far back as samples are kept by the second, and more.
const SINCE_MAX_S: u64 = 90 * 86_400;
/// Looks of a test when no step is asked for: a week takes one a minute, which shows what lasts.
const LOOKS: u64 = 10_000;
/// Shortest step: rules are looked at no more often.
const STEP_MIN_S: u64 = 5;
/// Longest silence: what is to be quiet for longer is no alert.
const SILENCE_MAX_S: u64 = 90 * 86_400;
/// Characters of a reason.
const REASON_MAX: usize = 1_000;
/// Matchers of a silence.
const MATCHERS_MAX: usize = 32;

pub(crate) async fn list(State(app): State<App>) -> Answer<Alerts> {
    Ok(Json(app.full()?.alerts.view().told()))
}

pub(crate) async fn one(State(app): State<App>, Path(name): Path<String>) -> Answer<AlertShow> {
    let full = app.full()?;
    let rule = rule(full, &name)?;
    let texts = full.alerts.show(name.clone()).await?;
    let view = full.alerts.view();
    let rows = view.rows.iter().filter(|row| row.alert.rule == name).map(row);
    // Each text begins with its own alert; one that came in between has none yet.
    let alerts = rows.enumerate().map(|(n, mut row)| {
        let about = format!("  what     {}", row.object);
        let mine = |text: &&String| text.lines().any(|line| line.starts_with(&about));
        row.text = texts.get(n).filter(mine).or_else(|| texts.iter().find(mine)).cloned();
        row
    });
    Ok(Json(AlertShow { v: V1, rule: view.rule(&rule), alerts: alerts.collect() }))
}

pub(crate) async fn test(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(request): Body<AlertTestRequest>,
) -> Answer<AlertTested> {
    let full = app.full()?;
    let rule = rule(full, &name)?;
    let since_s = request.since_s.unwrap_or(SINCE_S);
    if !(1..=SINCE_MAX_S).contains(&since_s) {
        return Err(usage(format!("a test looks back 1 to {SINCE_MAX_S} seconds")));
    }
    let step_s = request.step_s.unwrap_or(since_s.div_ceil(LOOKS)).max(STEP_MIN_S);
    let to = Timestamp::now();
    let from = Timestamp(to.0.saturating_sub(since_s * 1_000));
    let not_kept = forgotten(&rule);
    let tested = full.alerts.test(rule, from.0, Duration::from_secs(step_s)).await?;
    let Some(found) = tested else {
        let error = ApiError::new(ErrorKind::Failed, "there are no samples to test it on");
        return Err(Fault(error.hint("the daemon's own log says why samples are not kept")));
    };
    let episodes = found.episodes.into_iter().map(|episode| AlertEpisode {
        object: episode.object.to_string(),
        from: Timestamp(episode.from),
        until: episode.until.map(Timestamp),
        value: episode.evidence.as_ref().map(message::evidence),
    });
    Ok(Json(AlertTested {
        v: V1,
        name,
        from,
        to,
        step_s: found.step.into(),
        fired: found.fired,
        notifications: found.notifications,
        episodes: episodes.collect(),
        not_kept,
    }))
}

pub(crate) async fn silences(State(app): State<App>) -> Answer<Silences> {
    Ok(Json(Silences { v: V1, silences: app.full()?.alerts.view().silenced() }))
}

pub(crate) async fn silence(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Body(request): Body<SilenceRequest>,
) -> Answer<VerbAnswer> {
    let full = app.full()?;
    let SilenceRequest { matchers, reason, for_s } = request;
    if !(1..=SILENCE_MAX_S).contains(&for_s) {
        return Err(usage(format!("a silence lasts 1 to {SILENCE_MAX_S} seconds")));
    }
    if reason.chars().count() > REASON_MAX || matchers.len() > MATCHERS_MAX {
        let why = format!(
            "a reason has at most {REASON_MAX} characters, a silence {MATCHERS_MAX} matchers"
        );
        return Err(usage(why));
    }
    let matchers: Result<Vec<Matcher>, _> = matchers.iter().map(|text| text.parse()).collect();
    let starts = Timestamp::now().0;
    let silence = Silence {
        id: format!("{:010x}", fastrand::u64(..1 << 40)),
        matchers: matchers.map_err(|error| usage(error.to_string()))?,
        author: peer.caller().record.name,
        reason,
        starts,
        ends: starts.saturating_add(for_s * 1_000),
    };
    let id = silence.id.clone();
    let covers = |labels: &Labels| silence.covers(labels, starts);
    let now = full.alerts.view().rows.iter().filter(|row| covers(&row.alert.labels)).count();
    full.alerts.silence(silence).await?.map_err(|error| usage(error.to_string()))?;
    let notes = vec![format!("{now} of the alerts there are now fall under it")];
    full.events.tell("alert.silenced", &id, peer.caller().record.name).await;
    Ok(Json(VerbAnswer { v: V1, done: vec![id], notes }))
}

pub(crate) async fn expire(State(app): State<App>, Path(id): Path<String>) -> Answer<VerbAnswer> {
    let full = app.full()?;
    if !full.alerts.expire(id.clone()).await? {
        let view = full.alerts.view();
        let known = view.silences.iter().map(|silence| silence.id.as_str());
        return Err(not_found("silence", &id, known));
    }
    Ok(Json(VerbAnswer { v: V1, done: vec![id], notes: Vec::new() }))
}

fn rule(full: &Full, name: &str) -> Result<Rule, Fault> {
    let view = full.alerts.view();
    let found = view.rules.iter().find(|rule| rule.name == name).cloned();
    found.ok_or_else(|| not_found("alert", name, view.rules.iter().map(|rule| rule.name.as_str())))
}

impl From<Gone> for Fault {
    fn from(_: Gone) -> Self {
        Self(ApiError::new(ErrorKind::NoDaemon, "alerts have ended with the daemon"))
    }
}
