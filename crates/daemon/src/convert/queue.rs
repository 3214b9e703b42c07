//! A queue's rules.

use std::sync::Arc;

use ganger_api::{Dedupe, DedupeConflict, DedupeUntil};
use ganger_queue::{
    ClassRule, ControlRules, DedupeKey, DedupeRule, OnClass, QueueConfig, RetryRules, Wants,
};
use ganger_store::{KeepBounds, OnConflict, Op, Until};

use crate::config::{self, Config, History, Queue, Retry};

/// What the store shall keep of finished tasks. Sent at each apply: a bound that is as it was changes nothing.
pub(crate) fn history(config: &Config) -> Vec<Op> {
    let ops = config.queues.iter().flat_map(|(name, queue)| {
        let History { max_count, max_age, max_size, search } = queue.history;
        let queue: Arc<str> = name.as_str().into();
        let bounds = KeepBounds {
            rows: max_count,
            age: max_age.map(|age| age.0),
            bytes: max_size.map(|size| size.0),
        };
        [
            Op::Keep { queue: Arc::clone(&queue), dead: false, bounds },
            Op::Searchable { queue, on: search },
        ]
    });
    ops.collect()
}

/// The rules as the queue crate has them.
pub(crate) fn queue_config(queue: &Queue) -> QueueConfig {
    QueueConfig {
        durability: queue.durability,
        retry: retry_rules(&queue.retry),
        dead: KeepBounds {
            rows: Some(queue.dead.max_count),
            age: Some(queue.dead.max_age.0),
            bytes: Some(queue.dead.max_size.0),
        },
        timeout: queue.timeout.0,
        payload_max: usize::try_from(queue.max_payload.0).unwrap_or(usize::MAX),
        max_len: queue.max_length,
        control: queue.control.as_deref().map(|control| Box::new(rules(control))),
        max_bytes: queue.max_bytes.map(|size| size.0),
        max_age: queue.max_age.map(|age| age.0),
        limits: queue.limits.clone(),
        lanes: queue.lanes,
    }
}

fn retry_rules(retry: &Retry) -> RetryRules {
    let rule = |class: &String, then| ClassRule { class: class.clone(), then };
    let never = retry.non_retryable.iter().map(|class| rule(class, OnClass::Discard));
    let others = retry
        .on
        .iter()
        .map(|(class, on)| rule(class, OnClass::Retry { max: on.max, backoff: on.backoff }));
    RetryRules {
        max: retry.max,
        backoff: retry.backoff,
        max_age: retry.max_age.map(|age| age.0),
        crash_limit: retry.crash_limit,
        classes: never.chain(others).collect(),
    }
}

fn rules(control: &config::Control) -> ControlRules {
    ControlRules {
        all: wants(&control.all),
        kinds: control.kinds.iter().map(|(kind, own)| (kind.clone(), wants(own))).collect(),
        cache_entries: control.cache_max_entries,
        cache_bytes: control.cache_max_size.map(|size| size.0),
    }
}

fn wants(wants: &config::Wants) -> Wants {
    Wants {
        dedupe: wants.dedupe.as_ref().map(dedupe),
        cache: wants.cache_ttl.map(|time| time.0),
        result_ttl: wants.result_ttl.map(|time| time.0),
        expires_in: wants.expires_in.map(|time| time.0),
        deadline_ms: None,
    }
}

/// The rule as the queue crate has it.
pub(crate) fn dedupe(rule: &Dedupe) -> DedupeRule {
    DedupeRule {
        key: match rule.key.as_str() {
            "payload" => DedupeKey::Payload,
            text => DedupeKey::Text(text.into()),
        },
        until: match rule.until {
            DedupeUntil::Start => Until::Start,
            DedupeUntil::Success => Until::Success,
            DedupeUntil::For(time) => Until::For(time.0),
        },
        on_conflict: match rule.on_conflict {
            DedupeConflict::Reject => OnConflict::Reject,
            DedupeConflict::Existing => OnConflict::Existing,
            DedupeConflict::Replace => OnConflict::Replace,
        },
    }
}
