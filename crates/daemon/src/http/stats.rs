//! `GET /stats`, `GET /stats/{name}`: what services, workers and the machine cost over a window.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use axum::Json;
use axum::extract::{Path, State};
use ganger_api::{
    AllStats, ApiError, ErrorKind, Figures, InstanceStats, Percentiles, Seconds, Stats, StatsMark,
    StatsQuery, Timestamp, V1,
};
use ganger_monitor::{Figure, HOST, Kept, MetricInfo, MonitorError, host_metrics, tree_metrics};
use ganger_series::{Key, Mark, Reader, What};

use super::error::{Answer, Fault, not_found, usage};
use super::extract::Params;
use crate::app::App;

/// The window when none is asked for, in seconds.
const RANGE_S: u64 = 300;
/// The longest: as far back as anything is kept, and more.
const RANGE_MAX_S: u64 = 10 * 366 * 86_400;
/// More parts than a screen has columns tell nothing more.
const POINTS_MAX: u32 = 2_000;
/// Newest marks of one answer.
const MARKS_MAX: usize = 200;

pub(crate) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(query): Params<StatsQuery>,
) -> Answer<Stats> {
    let asked = Asked::of(&query, &name)?;
    let found = blocking(&app, move |reader| asked.one(&reader, &name)).await?;
    found.map(Json)
}

pub(crate) async fn all(
    State(app): State<App>,
    Params(query): Params<StatsQuery>,
) -> Answer<AllStats> {
    let asked = Asked::of(&query, "")?;
    let objects = blocking(&app, move |reader| {
        let names: BTreeSet<String> =
            reader.objects().iter().map(|key| key.name().to_owned()).collect();
        let all = names.iter().map(|name| asked.one(&reader, name));
        let known: io::Result<Vec<_>> = all.collect();
        Ok(known?.into_iter().flatten().collect())
    });
    Ok(Json(AllStats { v: V1, objects: objects.await? }))
}

async fn blocking<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(Reader) -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let monitor = app.full()?.monitor.as_ref().ok_or_else(|| {
        let error = ApiError::new(ErrorKind::Failed, "nothing watches what processes cost");
        error.hint("the daemon's own log says why; /proc has to be mounted and readable")
    })?;
    let reader = monitor.reader().await?;
    let done = tokio::task::spawn_blocking(move || work(reader)).await;
    let failed =
        |why: String| ApiError::new(ErrorKind::Failed, format!("can't read series: {why}"));
    match done {
        Ok(result) => result.map_err(|error| failed(error.to_string()).into()),
        Err(broke) => Err(failed(broke.to_string()).into()),
    }
}

impl From<MonitorError> for Fault {
    fn from(error: MonitorError) -> Self {
        let kind = match error {
            MonitorError::Busy => ErrorKind::Full,
            MonitorError::Gone => ErrorKind::NoDaemon,
            _ => ErrorKind::Failed,
        };
        Self(ApiError::from_error(kind, &error))
    }
}

/// A query that makes sense.
#[derive(Debug)]
struct Asked {
    range: Range<i64>,
    slot: Option<u32>,
    metrics: Option<&'static str>,
    points: usize,
}

impl Asked {
    fn of(query: &StatsQuery, name: &str) -> Result<Self, Fault> {
        let seconds = query.range_s.unwrap_or(RANGE_S);
        if !(1..=RANGE_MAX_S).contains(&seconds) {
            return Err(usage(format!("a window has 1 to {RANGE_MAX_S} seconds")));
        }
        let end = i64::try_from(Timestamp::now().0 / 1_000).unwrap_or(i64::MAX).saturating_add(1);
        let begin = end.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX));
        let metrics = match &query.metric {
            None => None,
            Some(metric) => {
                let all = table(name).iter().chain(host_metrics());
                let known = all.clone().find(|info| info.name == metric);
                let names = || all.map(|info| info.name);
                Some(known.ok_or_else(|| not_found("metric", metric, names()))?.name)
            }
        };
        let points = query.points.unwrap_or(0).min(POINTS_MAX) as usize;
        Ok(Self { range: begin..end, slot: query.slot, metrics, points })
    }

    /// `None` within: nobody knows of it.
    fn one(&self, reader: &Reader, name: &str) -> io::Result<Result<Stats, Fault>> {
        let keys: Vec<Key> = reader.objects();
        let mine = keys.iter().filter(|key| key.name() == name);
        let mine: Vec<&Key> =
            mine.filter(|key| self.slot.is_none_or(|slot| slot == key.slot())).collect();
        if mine.is_empty() {
            let names: BTreeSet<&str> = keys.iter().map(Key::name).collect();
            return Ok(Err(not_found("object with samples", name, names.into_iter())));
        }
        let mut series = BTreeMap::new();
        let mut instances: Vec<InstanceStats> = mine
            .iter()
            .map(|key| InstanceStats { slot: key.slot(), series: BTreeMap::new() })
            .collect();
        for info in table(name) {
            if self.metrics.is_some_and(|wanted| wanted != info.name) {
                continue;
            }
            let mut all: Vec<Kept> = vec![];
            for (key, instance) in mine.iter().zip(&mut instances) {
                let range = self.range.clone();
                let kept = ganger_monitor::read(reader, key, info, range, self.points)?;
                let Some(kept) = kept else { continue };
                insert(&mut instance.series, info, std::slice::from_ref(&kept));
                all.push(kept);
            }
            insert(&mut series, info, &all);
        }
        instances.retain(|instance| !instance.series.is_empty());
        let marks = reader.marks(Some(name), self.range.clone())?;
        let skipped = marks.len().saturating_sub(MARKS_MAX);
        Ok(Ok(Stats {
            v: V1,
            name: name.to_owned(),
            from: stamp(self.range.start),
            to: stamp(self.range.end),
            series,
            instances,
            marks: marks.iter().skip(skipped).map(mark).collect(),
        }))
    }
}

fn table(name: &str) -> &'static [MetricInfo] {
    if name == HOST { host_metrics() } else { tree_metrics() }
}

fn stamp(seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
}

fn insert(into: &mut BTreeMap<String, Figures>, info: &MetricInfo, all: &[Kept]) {
    let Some(figure) = ganger_monitor::figure(all, info) else { return };
    let Figure { seconds, mean, stddev, min, max, last, percentiles, graph } = figure;
    let percentiles =
        percentiles.map(|[p50, p90, p95, p99, p999]| Percentiles { p50, p90, p95, p99, p999 });
    let figures = Figures {
        unit: info.meaning.unit().to_owned(),
        seconds: Seconds(seconds as f64),
        mean,
        stddev,
        min,
        max,
        last,
        percentiles,
        graph,
    };
    into.insert(info.name.to_owned(), figures);
}

fn mark(mark: &Mark) -> StatsMark {
    let (what, text) = match &mark.what {
        What::Restart { reason } => ("restart", reason.clone()),
        What::Deploy { reason } => ("deploy", reason.clone()),
        What::Oom { .. } => ("oom", "ended for its memory".to_owned()),
        What::Scale { from, to } => ("scale", format!("from {from} to {to}")),
        What::Exit { end, .. } => ("exit", end.to_string()),
    };
    let at = Timestamp(u64::try_from(mark.at_ms).unwrap_or(0));
    StatsMark { at, slot: mark.slot, what: what.to_owned(), text }
}
