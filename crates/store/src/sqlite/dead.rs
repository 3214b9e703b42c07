//! Dead letters: pages of them, and the end of one.

use std::sync::Arc;

use ganger_core::{Priority, TaskId, TaskState};
use rusqlite::{OptionalExtension, Row, params};

use super::apply::Tx;
use super::list::{error_of, reason_of};
use super::read::{SqliteReader, task_id};
use crate::batch::RefusedWhy;
use crate::dead::{DeadCursor, DeadPage, DeadQuery, DeadRow};
use crate::store::PAGE_MAX;

/// Rows one page looks at: their errors are read and parsed, at about 2 µs each some ten milliseconds.
const SCAN_MAX: usize = 5_000;

impl SqliteReader {
    pub(super) fn dead_now(&mut self, query: &DeadQuery) -> rusqlite::Result<DeadPage> {
        let only = match &query.queue {
            Some(name) => match self.queue_no(name)? {
                Some(no) => Some(no),
                None => return Ok(DeadPage::default()),
            },
            None => None,
        };
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut page = DeadPage::default();
        let mut left = SCAN_MAX;
        let mut at = match (query.after, only) {
            (Some(after), _) => Some(after),
            (None, Some(queue)) => Some(DeadCursor { queue, id: i64::MAX }),
            (None, None) => self.next_queue(0)?,
        };
        while let Some(cursor) = at {
            let end = self.dead_of(cursor, query, limit, &mut left, &mut page.rows)?;
            if end.is_some() {
                page.next = end;
                return Ok(page);
            }
            at = if only.is_some() { None } else { self.next_queue(cursor.queue)? };
        }
        Ok(page)
    }

    /// One queue's. Gives where to go on when enough was found or looked at.
    fn dead_of(
        &mut self,
        cursor: DeadCursor,
        query: &DeadQuery,
        limit: usize,
        left: &mut usize,
        found: &mut Vec<DeadRow>,
    ) -> rusqlite::Result<Option<DeadCursor>> {
        let name = self.name(cursor.queue)?;
        let mut newest_first = self.conn.prepare_cached(
            "SELECT id, kind, priority, attempt, crashes, ended_at, reason, error FROM done \
             WHERE queue = ?1 AND state = 6 AND id < ?2 ORDER BY id DESC",
        )?;
        let mut rows = newest_first.query(params![cursor.queue, cursor.id])?;
        while let Some(row) = rows.next()? {
            let row = dead_row(row, &name)?;
            let here = DeadCursor { id: row.id.raw(), ..cursor };
            *left -= 1;
            if query.wants(&row) {
                found.push(row);
            }
            if found.len() >= limit || *left == 0 {
                return Ok(Some(here));
            }
        }
        Ok(None)
    }

    fn next_queue(&self, after: i64) -> rusqlite::Result<Option<DeadCursor>> {
        self.conn
            .prepare_cached("SELECT no FROM queue WHERE no > ?1 ORDER BY no LIMIT 1")?
            .query_row([after], |r| Ok(DeadCursor { queue: r.get(0)?, id: i64::MAX }))
            .optional()
    }
}

fn dead_row(r: &Row<'_>, queue: &Arc<str>) -> rusqlite::Result<DeadRow> {
    Ok(DeadRow {
        id: task_id(r.get(0)?)?,
        queue: Arc::clone(queue),
        kind: r.get::<_, Option<String>>(1)?.map(Arc::from),
        priority: Priority(r.get(2)?),
        attempt: r.get(3)?,
        crashes: r.get(4)?,
        died_at_ms: r.get::<_, i64>(5)?.unsigned_abs(),
        reason: reason_of(r.get(6)?)?,
        error: error_of(r.get(7)?)?,
    })
}

impl Tx<'_> {
    /// A dead letter leaves for ever, with its attempts. `attempt`: only if that is still its last one.
    pub(super) fn purge(
        &mut self,
        id: TaskId,
        attempt: Option<u32>,
    ) -> rusqlite::Result<Option<(TaskId, RefusedWhy)>> {
        let found: Option<(i64, u32)> = self
            .conn
            .prepare_cached("SELECT queue, attempt FROM done WHERE id = ?1 AND state = 6")?
            .query_row([id.raw()], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        let Some((queue, last)) = found else { return self.wrong_state(id) };
        if attempt.is_some_and(|seen| seen != last) {
            return Ok(Some((id, RefusedWhy::Stale(TaskState::Discarded))));
        }
        self.leaves_history(id.raw(), queue)?;
        for table in ["done", "attempt", "body", "said"] {
            self.conn
                .prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?
                .execute([id.raw()])?;
        }
        self.done_rows -= 1;
        self.count(queue, TaskState::Discarded, -1);
        Ok(None)
    }
}
