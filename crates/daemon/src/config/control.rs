//! `dedupe`, `cache_ttl`, `result_ttl`, `expires_in` of queues and their kinds.

use ganger_api::{Dedupe, DedupeConflict};
use ganger_core::{Dur, Durability};

use super::model::{Control, Wants};
use super::raw;
use super::values::Time;
use super::walk::{Key, Walk};

/// The keys of one section.
struct Keys<'a> {
    dedupe: &'a Key<raw::DedupeKeys>,
    cache_ttl: &'a Key<Time>,
    result_ttl: &'a Key<Time>,
    expires_in: &'a Key<Time>,
}

/// Everything a queue says about it; `None` when it says nothing.
pub(super) fn control(
    queue: &raw::Queue,
    durability: Durability,
    walk: &mut Walk<'_>,
) -> Option<Box<Control>> {
    let keys = Keys {
        dedupe: &queue.dedupe,
        cache_ttl: &queue.cache_ttl,
        result_ttl: &queue.result_ttl,
        expires_in: &queue.expires_in,
    };
    let mut control = Control { all: wants(&keys, durability, walk), ..Control::default() };
    for (name, kind) in queue.kind.get().iter().flat_map(|named| &named.0) {
        let raw::KindKeys { dedupe, cache_ttl, result_ttl, expires_in } = &kind.value;
        let keys = Keys { dedupe, cache_ttl, result_ttl, expires_in };
        control.kinds.insert(name.value.clone(), wants(&keys, durability, walk));
    }
    control.cache_max_entries = queue.cache_max_entries.get().copied();
    control.cache_max_size = queue.cache_max_size.get().map(|bytes| bytes.0);
    (control != Control::default()).then(|| Box::new(control))
}

fn wants(keys: &Keys<'_>, durability: Durability, walk: &mut Walk<'_>) -> Wants {
    if durability == Durability::Memory {
        let kept = [
            ("dedupe", keys.dedupe.span()),
            ("cache_ttl", keys.cache_ttl.span()),
            ("result_ttl", keys.result_ttl.span()),
        ];
        for (key, span) in kept.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            walk.error(span, format!("`{key}` needs a queue that outlives the daemon"))
                .help("durability = \"relaxed\" or \"fsync\"".into());
        }
    }
    let time = |key: &Key<Time>| key.get().map(|time| time.0);
    Wants {
        dedupe: dedupe(keys.dedupe, walk),
        cache_ttl: time(keys.cache_ttl),
        result_ttl: time(keys.result_ttl),
        expires_in: time(keys.expires_in).filter(|time| *time != Dur::default()),
    }
}

fn dedupe(key: &Key<raw::DedupeKeys>, walk: &mut Walk<'_>) -> Option<Dedupe> {
    let rule = key.get()?;
    let span = key.span().unwrap_or_default();
    let Some(text) = rule.key.get().filter(|text| !text.is_empty()) else {
        walk.error(span, "`dedupe` needs a `key`").help("key = \"payload\"".into());
        return None;
    };
    let until = match rule.until.get().map(|until| until.parse()) {
        None => ganger_api::DedupeUntil::default(),
        Some(Ok(until)) => until,
        Some(Err(error)) => {
            let error: ganger_api::DedupeUntilError = error;
            walk.error(rule.until.span().unwrap_or_default(), error.to_string())
                .help("until = \"success\"".into());
            return None;
        }
    };
    let on_conflict = match rule.on_conflict.get().map(String::as_str) {
        None | Some("existing") => DedupeConflict::Existing,
        Some("reject") => DedupeConflict::Reject,
        Some("replace") => DedupeConflict::Replace,
        Some(other) => {
            let why = format!("`{other}` is none of: existing, reject, replace");
            walk.error(rule.on_conflict.span().unwrap_or_default(), why)
                .help("on_conflict = \"existing\"".into());
            return None;
        }
    };
    Some(Dedupe { key: text.clone(), until, on_conflict })
}
