//! What the hot path keeps at hand: prepared statements and queue numbers.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection};

use super::history::Asked;

/// Queue numbers by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) by_name: HashMap<Arc<str>, i64>,
    pub(super) last: Option<(Arc<str>, i64)>,
    pub(super) asked: Asked,
}

impl Names {
    /// After a rollback, when rows it remembers may not exist.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The statements of the hot path, taken from the connection's cache once per transaction.
pub(super) struct Hot<'c> {
    pub(super) enqueue: CachedStatement<'c>,
    pub(super) enqueue_claimed: CachedStatement<'c>,
    pub(super) claim: CachedStatement<'c>,
    pub(super) complete: CachedStatement<'c>,
    pub(super) delete: CachedStatement<'c>,
}

impl<'c> Hot<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            enqueue: conn.prepare_cached(
                "INSERT INTO task (id, queue, state, priority, seq, run_at, kind, options, payload) \
                 VALUES (?1, ?2, ?3, ?4, ?1, ?5, ?6, ?7, ?8)",
            )?,
            enqueue_claimed: conn.prepare_cached(
                "INSERT INTO task (id, queue, state, priority, seq, kind, options, payload, \
                 attempt, epoch, counter, pid, claimed_at, started_at, worker) \
                 VALUES (?1, ?2, 2, ?3, ?1, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?,
            claim: conn.prepare_cached(
                "UPDATE task SET state = 2, attempt = ?3, epoch = ?4, counter = ?5, pid = ?6, \
                 claimed_at = ?7, started_at = ?8, worker = ?9 \
                 WHERE id = ?1 AND state = 1 AND queue = ?2",
            )?,
            complete: conn.prepare_cached(
                "INSERT INTO done (id, queue, state, priority, attempt, base, crashes, pid, \
                 started_at, ended_at, worker, kind, options, payload, result) \
                 SELECT id, queue, 4, priority, attempt, base, crashes, coalesce(?5, pid), \
                 coalesce(?6, started_at, claimed_at), ?7, worker, kind, options, payload, ?8 \
                 FROM task WHERE id = ?1 AND state = 2 AND epoch = ?2 AND counter = ?3 AND queue = ?4",
            )?,
            delete: conn.prepare_cached("DELETE FROM task WHERE id = ?1")?,
        })
    }
}
