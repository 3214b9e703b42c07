//! A queue's rules.

use ganger_queue::{QueueConfig, RetryRules};

use crate::config::Queue;

/// The rules as the queue crate has them.
pub(crate) fn queue_config(queue: &Queue) -> QueueConfig {
    QueueConfig {
        durability: queue.durability,
        retry: RetryRules { max: queue.retry.max, backoff: queue.retry.backoff },
        timeout: queue.timeout.0,
        payload_max: usize::try_from(queue.max_payload.0).unwrap_or(usize::MAX),
        max_len: queue.max_length,
    }
}
