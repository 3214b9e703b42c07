//! From sections as written to the resolved [`Config`]: defaults, ranges, references.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use ganger_core::{Dur, Durability, Priority, Rate, Size};

use ganger_supervise::RESTARTS;

use super::model::{
    Audit, Config, DependsOn, History, Pool, Protocol, Queue, Recycle, Service, SourceFile,
    Supervision, Workers as WorkerCount,
};
use super::probes;
use super::program::program;
use super::raw;
use super::values::{Dependencies, Workers};
use super::walk::{At, Key, Walk};

/// More instances of one service than a machine can tell apart in a table; also a guard against typing errors.
pub(crate) const REPLICAS_MAX: u32 = 10_000;
/// More than a machine can start in a second (about 2,000 are measured) is no bound.
const RESTARTS_MAX: u32 = 10_000;
/// Beyond this, one worker process is the wrong tool.
const CONCURRENCY_MAX: u32 = 1_024;
/// Buffered attempts have to be handed back when a worker dies.
const PREFETCH_MAX: u32 = 1_024;
/// A payload passes through memory several times; larger things belong into files.
const PAYLOAD_MAX: Size = Size(64 << 20);
/// Directory entries are at most 255 bytes (limits.h); the name also prefixes every log line.
const NAME_MAX: usize = 64;

/// The daemon's own output is the log of this name.
const OWN_NAME: &str = "ganger";
const PAYLOAD_DEFAULT: Size = Size(1 << 20);
const TASK_TIMEOUT: Dur = Dur(std::time::Duration::from_secs(600));
const PREFETCH: u32 = 16;

/// Where a dependency is written: the name, and what must be so.
pub(super) type DependencySpans = BTreeMap<String, BTreeMap<String, Range<usize>>>;

/// Resolves everything; what is wrong is reported to `walk`.
pub(super) fn resolve(
    file: &raw::File,
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
) -> Config {
    if let Some(At { span, value }) = file.version.0.as_ref().filter(|at| at.value != 1) {
        walk.error(span.clone(), format!("version {value} of this grammar does not exist"))
            .help("write version = 1".into());
    }
    let mut config = Config {
        version: 1,
        sources: Vec::new(),
        services: BTreeMap::new(),
        queues: BTreeMap::new(),
        pools: BTreeMap::new(),
        schedules: BTreeMap::new(),
        groups: BTreeMap::new(),
        policies: super::policy::resolve(file.policy.get().map(|policy| &policy.0), walk),
        audit: file.audit.get().map_or_else(Audit::default, |keys| audit(keys, walk)),
        incident: super::incident::resolve(file.incident.get(), walk),
        alerting: super::alert::Alerting::default(),
        server: super::server::resolve(file.server.get(), walk),
        supervision: file
            .supervision
            .get()
            .map_or_else(Supervision::default, |s| supervision(s, walk)),
    };
    for (name, queue) in file.queue.get().iter().flat_map(|named| &named.0) {
        check_name(name, walk);
        config.queues.insert(name.value.clone(), resolve_queue(&queue.value, walk));
    }
    let mut spans = DependencySpans::new();
    for (name, service) in file.service.get().iter().flat_map(|named| &named.0) {
        check_name(name, walk);
        let resolved = resolve_service(name, &service.value, walk, sources, &mut spans);
        config.services.insert(name.value.clone(), resolved);
    }
    let written: Vec<_> = file.service.get().iter().flat_map(|named| &named.0).collect();
    let written: Vec<_> = written.into_iter().map(|(name, at)| (name, &at.value)).collect();
    super::listen::check(&written, &config, walk);
    for (name, pool) in file.pool.get().iter().flat_map(|named| &named.0) {
        check_name(name, walk);
        if config.services.contains_key(&name.value) {
            walk.error(name.span.clone(), format!("`{}` is the name of a service too", name.value))
                .help("instances are told apart by name: give the pool another one".into());
        }
        let resolved = resolve_pool(name, &pool.value, walk, sources);
        super::checks::pool_queues(name, &pool.value, &config.queues, walk);
        config.pools.insert(name.value.clone(), resolved);
    }
    for (name, raw) in file.schedule.get().iter().flat_map(|named| &named.0) {
        check_name(name, walk);
        let schedule = super::schedule::resolve(name, &raw.value, &config.queues, walk);
        config.schedules.insert(name.value.clone(), schedule);
    }
    for (name, group) in file.group.get().iter().flat_map(|named| &named.0) {
        check_name(name, walk);
        config.groups.insert(name.value.clone(), super::group::resolve(&group.value));
    }
    super::group::check(file.group.get(), &config, walk);
    super::checks::dependencies(&config, &spans, walk);
    config.alerting = super::alert::resolve(file, &config, walk);
    config
}

fn audit(keys: &raw::Audit, walk: &Walk<'_>) -> Audit {
    Audit {
        witness: keys.witness.get().map(|folder| absolute(walk.dir, folder)),
        max_size: keys.max_size.get().map(|bytes| bytes.0),
        max_age: keys.max_age.get().map(|time| time.0),
    }
}

fn supervision(keys: &raw::Supervision, walk: &mut Walk<'_>) -> Supervision {
    let count = in_range(&keys.restarts_per_second, RESTARTS.count, 1, RESTARTS_MAX, walk);
    let burst = in_range(&keys.restart_burst, RESTARTS.burst, 1, RESTARTS_MAX, walk);
    Supervision { restarts: Rate { count, burst, ..RESTARTS } }
}

/// Names become folder names, log prefixes and `NAME#SLOT`.
pub(super) fn check_name(name: &At<String>, walk: &mut Walk<'_>) {
    let text = &name.value;
    if text == OWN_NAME {
        walk.error(name.span.clone(), "`ganger` is the name of ganger's own log")
            .help("choose another name".into());
    } else if !is_name(text) {
        walk.error(name.span.clone(), format!("`{text}` can't be a name")).help(format!(
            "use up to {NAME_MAX} of a-z, A-Z, 0-9, `_`, `-` and `.`, beginning with a letter or digit"
        ));
    }
}

/// True for what can be a folder's name, a log's prefix and the first part of `NAME#SLOT`.
pub(super) fn is_name(text: &str) -> bool {
    let proper = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    text != OWN_NAME
        && text.len() <= NAME_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(proper)
}

fn resolve_queue(queue: &raw::Queue, walk: &mut Walk<'_>) -> Queue {
    let retry = super::retry::retry(queue.retry.get(), walk);
    let dead = super::retry::dead(queue.dead.get(), walk);
    let payload = queue.max_payload.get().map_or(PAYLOAD_DEFAULT, |bytes| bytes.0);
    if payload > PAYLOAD_MAX {
        walk.error(queue.max_payload.span().unwrap_or_default(), format!("{payload} is too large"))
            .help(format!(
                "at most {PAYLOAD_MAX}; put larger things into a file and push its path"
            ));
    }
    let timeout = queue.timeout.get().map_or(TASK_TIMEOUT, |time| time.0);
    not_zero(&queue.timeout.span(), timeout, walk);
    let durability = queue.durability.get().map_or(Durability::Fsync, |word| word.0);
    Queue {
        durability,
        control: super::control::control(queue, durability, walk),
        retry,
        dead,
        timeout,
        max_length: queue.max_length.get().copied(),
        max_bytes: queue.max_bytes.get().map(|bytes| bytes.0),
        max_age: queue.max_age.get().map(|age| age.0),
        limits: super::limits::limits(queue, walk),
        lanes: super::limits::lanes(queue, walk),
        max_payload: payload,
        paused: queue.paused.or(false),
        history: queue.history.get().map(resolve_history).unwrap_or_default(),
    }
}

fn resolve_history(history: &raw::History) -> History {
    History {
        max_count: history.max_count.get().copied(),
        max_age: history.max_age.get().map(|age| age.0),
        max_size: history.max_size.get().map(|size| size.0),
        search: history.search.or(false),
    }
}

fn resolve_service(
    name: &At<String>,
    service: &raw::Service,
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
    spans: &mut DependencySpans,
) -> Service {
    let mut depends_on = BTreeMap::new();
    let places = spans.entry(name.value.clone()).or_default();
    match service.depends_on.get() {
        Some(Dependencies::List(list)) => {
            for other in list {
                depends_on.insert(other.value.clone(), DependsOn::Ready);
                places.insert(other.value.clone(), other.span.clone());
            }
        }
        Some(Dependencies::Table(table)) => {
            for (other, when) in &table.0 {
                depends_on.insert(other.value.clone(), when.value);
                places.insert(other.value.clone(), other.span.clone());
            }
        }
        None => {}
    }
    let program = program(name, &service.program(), walk, sources);
    let ready = probes::ready("ready", service.ready.0.as_ref(), &program, walk);
    let startup = probes::ready("startup", service.startup.0.as_ref(), &program, walk);
    let live = probes::live(service.live.0.as_ref(), &program, walk);
    let (listen, listen_mode, on_demand) = super::listen::resolve(&name.value, service, walk);
    let watch = super::watch::resolve(&service.watch, &program, walk);
    let node_cluster = service.node_cluster.or(false);
    let channel = service.channel.or(false);
    if channel && (node_cluster || listen_mode == ganger_supervise::listeners::ListenMode::Pass) {
        let why = "its channel carries its connections: `channel = true` does not go with `node_cluster` or `listen_mode = \"pass\"` yet";
        walk.error(service.channel.span().unwrap_or_default(), why);
    }
    if service.stop_message.or(false) && service.node_drain.or(false) {
        let why = "`node_drain` waits for the stop signal, which with `stop_message` never comes";
        walk.error(service.stop_message.span().unwrap_or_default(), why);
    }
    Service {
        program,
        replicas: in_range(&service.replicas, 1, 0, REPLICAS_MAX, walk),
        depends_on,
        ready,
        startup,
        live,
        port: service.port.get().copied(),
        instance_var: instance_var(&service.instance_var, walk),
        listen,
        listen_mode,
        node_cluster,
        on_demand,
        reload: super::reload::reload(&service.reload, walk),
        watch,
        node_drain: service.node_drain.or(false),
        stop_message: service.stop_message.or(false),
        priority: service.priority.get().map_or(Priority::NORMAL, |priority| priority.0),
        channel,
    }
}

fn instance_var(key: &Key<String>, walk: &mut Walk<'_>) -> Option<String> {
    let name = key.get()?;
    if name.is_empty() || name.contains('=') {
        let span = key.span().unwrap_or_default();
        walk.error(span, "this can't be the name of an environment variable");
    }
    Some(name.clone())
}

fn resolve_pool(
    name: &At<String>,
    pool: &raw::Pool,
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
) -> Pool {
    let protocol = pool.protocol.or(Protocol::Channel);
    let raw = pool.raw.or(false);
    let concurrency = in_range(&pool.concurrency, 1, 1, CONCURRENCY_MAX, walk);
    let prefetch = in_range(&pool.prefetch, PREFETCH, 0, PREFETCH_MAX, walk);
    if protocol == Protocol::Command && raw {
        walk.error(
            pool.raw.span().unwrap_or_default(),
            "`raw` has no meaning for protocol \"command\"",
        )
        .help("a command always gets the bare payload on stdin".into());
    }
    if concurrency > 1 && (raw || protocol == Protocol::Command) {
        let why = if raw { "`raw` workers" } else { "commands" };
        walk.error(
            pool.concurrency.span().unwrap_or_default(),
            format!("{why} take one task at a time: answers could not be told apart"),
        )
        .help("raise `workers` instead".into());
    }
    let channel = pool.channel.or(false);
    if channel && (raw || protocol == Protocol::Command) {
        let what = if raw { "`raw` workers" } else { "commands" };
        let why = format!("{what} can't talk with others: a message of theirs is a result");
        walk.error(pool.channel.span().unwrap_or_default(), why);
    }
    let mut program = program(name, &pool.program(), walk, sources);
    if protocol == Protocol::Command && !pool.shell.is_absent() {
        // A payload must never become shell text: in a line for a shell nothing is a placeholder.
        for argument in &mut program.command {
            *argument = argument.replace('{', "{{").replace('}', "}}");
        }
    } else if protocol == Protocol::Command {
        super::checks::template(&program.command, pool, walk);
    }
    Pool {
        program,
        queues: pool.queues.get().into_iter().flatten().map(|at| at.value.clone()).collect(),
        workers: workers(&pool.workers, walk),
        protocol,
        raw,
        channel,
        concurrency,
        prefetch,
        recycle: recycle(pool, protocol, walk),
        live: probes::pings(pool.live.0.as_ref(), !raw && protocol != Protocol::Command, walk),
    }
}

fn recycle(pool: &raw::Pool, protocol: Protocol, walk: &mut Walk<'_>) -> Recycle {
    let Some(At { span, value }) = &pool.recycle.0 else { return Recycle::default() };
    if protocol == Protocol::Command {
        walk.error(span.clone(), "`recycle` has no meaning for protocol \"command\"")
            .help("every task has a fresh process there".into());
    }
    if value.tasks.get() == Some(&0) {
        walk.error(value.tasks.span().unwrap_or_default(), "at least 1 task");
    }
    Recycle {
        tasks: value.tasks.get().copied(),
        after: value.after.get().map(|time| time.0),
        memory: value.memory.get().map(|bytes| bytes.0),
    }
}

fn workers(key: &Key<Workers>, walk: &mut Walk<'_>) -> WorkerCount {
    let Some(At { span, value }) = &key.0 else { return WorkerCount::fixed(1) };
    let count = match value {
        Workers::Number(number) => WorkerCount::fixed(*number),
        Workers::Range(range) => {
            let (min, usual) = (range.min.or(0), WorkerCount::fixed(1));
            let time =
                |key: &Key<super::values::Time>, usual: Dur| key.get().map_or(usual, |time| time.0);
            WorkerCount {
                min,
                max: range.max.or(min),
                target_wait: time(&range.target_wait, usual.target_wait),
                cool_down: time(&range.cool_down, usual.cool_down),
            }
        }
    };
    let (min, max) = (count.min, count.max);
    if min > REPLICAS_MAX || max > REPLICAS_MAX {
        walk.error(span.clone(), format!("at most {REPLICAS_MAX} workers"));
    } else if max < min {
        walk.error(span.clone(), format!("`max` {max} is below `min` {min}"));
    }
    count
}

/// A number in its range, or the default with a report.
pub(super) fn in_range(
    key: &Key<u32>,
    default: u32,
    min: u32,
    max: u32,
    walk: &mut Walk<'_>,
) -> u32 {
    let Some(At { span, value }) = &key.0 else { return default };
    if (min..=max).contains(value) {
        return *value;
    }
    walk.error(span.clone(), format!("{value} is out of range: {min} to {max}"));
    default
}

pub(super) fn not_zero(span: &Option<Range<usize>>, value: Dur, walk: &mut Walk<'_>) {
    if let Some(span) = span.as_ref().filter(|_| value.0.is_zero()) {
        walk.error(span.clone(), "this may not be zero");
    }
}

/// A path of the file, absolute.
pub(super) fn absolute(dir: &Path, path: &str) -> std::path::PathBuf {
    let joined = dir.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}
