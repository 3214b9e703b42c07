//! Tasks as users see them: one with its attempts, and pages.

use std::sync::Arc;

use ganger_core::{Priority, TaskId, TaskState};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

use super::filter::Filter;
use super::read::{SqliteReader, task_id};
use super::{damaged, options_of, state_of};
use crate::batch::{AttemptError, AttemptWord, DeadReason, UnknownDeadReason};
use crate::rows::{AttemptRow, Cursor, Page, TaskQuery, TaskRow};
use crate::store::PAGE_MAX;

/// Rows one page looks at when it filters: some ten milliseconds, so a read never holds the log back for long.
const SCAN_MAX: i64 = 20_000;
/// Matches of words that one page looks at when it also filters.
const MATCH_MAX: i64 = 5_000;
/// Payload and result bytes of one page.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Columns of an unfinished task.
const TASK: &str = "id, queue, state, priority, kind, attempt, pid, worker, started_at, \
    coalesce(payload, (SELECT bytes FROM body WHERE body.id = task.id)), run_at, NULL, NULL, NULL, \
    NULL, crashes, options";
/// The same of a finished one.
const DONE: &str = "id, queue, state, priority, kind, attempt, pid, worker, started_at, \
    coalesce(payload, (SELECT bytes FROM body WHERE body.id = done.id)), 0, ended_at, result, error, \
    reason, crashes, options";

/// A task and the attempt that its own row tells of.
struct Found {
    queue: i64,
    task: TaskRow,
    own: AttemptRow,
}

fn found(r: &Row<'_>) -> rusqlite::Result<Found> {
    let state = state_of(r.get(2)?)?;
    let time = |at: usize| -> rusqlite::Result<Option<u64>> {
        Ok(r.get::<_, Option<i64>>(at)?.map(i64::unsigned_abs))
    };
    let error = error_of(r.get(13)?)?;
    let ended_at_ms = time(11)?;
    let own = AttemptRow {
        n: r.get(5)?,
        worker: r.get::<_, Option<String>>(7)?.unwrap_or_default().into(),
        pid: r.get(6)?,
        started_at_ms: time(8)?,
        ended_at_ms,
        outcome: (state == TaskState::Completed).then_some(AttemptWord::Completed),
        error: None,
        said: None,
    };
    let waits = matches!(state, TaskState::Scheduled | TaskState::Retryable);
    let options = options_of(r.get(16)?)?;
    let (tags, control) = options.map_or_else(Default::default, |o| (o.tags, o.control));
    let task = TaskRow {
        id: task_id(r.get(0)?)?,
        queue: Arc::from(""),
        kind: r.get::<_, Option<String>>(4)?.map(Arc::from),
        state,
        priority: Priority(r.get(3)?),
        payload: r.get::<_, Vec<u8>>(9)?.into(),
        // Without a moment of its own: it waits for an identical task.
        run_at_ms: time(10)?.filter(|at| waits && *at < i64::MAX.unsigned_abs()),
        ended_at_ms,
        result: r.get::<_, Option<Vec<u8>>>(12)?.map(Into::into),
        error,
        reason: reason_of(r.get(14)?)?,
        crashes: r.get(15)?,
        tags,
        control,
        attempt: own.n,
        attempts: Vec::new(),
    };
    Ok(Found { queue: r.get(1)?, task, own })
}

pub(super) fn reason_of(text: Option<String>) -> rusqlite::Result<Option<DeadReason>> {
    text.map(|text| text.parse()).transpose().map_err(|e: UnknownDeadReason| damaged(e.to_string()))
}

pub(super) fn error_of(text: Option<String>) -> rusqlite::Result<Option<AttemptError>> {
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| damaged(format!("an attempt's error: {e}")))
}

impl SqliteReader {
    pub(super) fn task_now(&mut self, id: TaskId) -> rusqlite::Result<Option<TaskRow>> {
        // One snapshot, or a task that is just being finished would be in neither table.
        let snapshot = self.conn.unchecked_transaction()?;
        let mut row = None;
        for (columns, table) in [(TASK, "task"), (DONE, "done")] {
            if row.is_none() {
                row = snapshot
                    .prepare_cached(&format!("SELECT {columns} FROM {table} WHERE id = ?1"))?
                    .query_row([id.raw()], found)
                    .optional()?;
            }
        }
        let Some(Found { queue, mut task, own }) = row else { return Ok(None) };
        task.attempts = snapshot
            .prepare_cached(
                "SELECT n, worker, pid, started_at, ended_at, outcome, error FROM attempt \
                 WHERE id = ?1 ORDER BY n",
            )?
            .query_map([id.raw()], attempt_row)?
            .collect::<rusqlite::Result<_>>()?;
        let expired = task.control.as_ref().is_some_and(|control| control.result_ttl.is_some())
            && snapshot
                .prepare_cached("SELECT 1 FROM result_limit WHERE id = ?1 AND at <= ?2")?
                .exists([id.raw(), super::fault::now_ms()])?;
        let mut said = super::said::of_task(&snapshot, id)?;
        drop(snapshot);
        if matches!(task.state, TaskState::Running | TaskState::Completed) {
            // One that was answered from the cache made none.
            task.attempts.extend((own.n > 0).then_some(own));
        }
        for attempt in &mut task.attempts {
            attempt.said = said.remove(&attempt.n);
        }
        if expired {
            task.result = None;
        }
        if task.error.is_none() && task.state != TaskState::Completed {
            task.error = task.attempts.iter().rev().find_map(|a| a.error.clone());
        }
        task.queue = self.name(queue)?;
        Ok(Some(task))
    }

    pub(super) fn list_now(&mut self, query: &TaskQuery) -> rusqlite::Result<Page> {
        let queue = match query.queue.as_deref().map(|name| self.queue_no(name)).transpose()? {
            Some(None) => return Ok(Page::default()),
            Some(Some(no)) => Some(no),
            None => None,
        };
        let filter = Filter::new(&self.conn, query, queue)?;
        if filter.is_empty() {
            return Ok(Page::default());
        }
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut page = Page::default();
        let mut bytes = 0;
        let wants = |finished: bool| query.state.is_none_or(|s| s.is_final() == finished);
        let mut at = query.after.unwrap_or(Cursor { finished: !wants(false), id: -1 });
        if at.finished && at.id < 0 {
            at.id = i64::MAX;
        }
        // From the unfinished to the finished ones; a part that was looked through to its bound is a page, however short.
        for _ in 0..2 {
            let part = self.part(at, &filter, limit - page.tasks.len())?;
            let mut last = at.id;
            for found in part.rows {
                if bytes >= PAGE_BYTES_MAX {
                    page.next = Some(Cursor { finished: at.finished, id: last });
                    return Ok(page);
                }
                bytes += found.task.payload.len()
                    + found.task.result.as_ref().map_or(0, |result| result.len());
                last = found.task.id.raw();
                let mut task = found.task;
                task.queue = self.name(found.queue)?;
                page.tasks.push(task);
            }
            let next = match part.end {
                Some(end) => Some(Cursor { finished: at.finished, id: end }),
                None if !at.finished && wants(true) => {
                    Some(Cursor { finished: true, id: i64::MAX })
                }
                None => None,
            };
            page.next = next;
            match next {
                Some(next) if next.finished != at.finished && page.tasks.len() < limit => at = next,
                _ => break,
            }
        }
        Ok(page)
    }

    /// Part of a page from one table, and where to go on in it.
    fn part(&self, at: Cursor, filter: &Filter, limit: usize) -> rusqlite::Result<Part> {
        let (columns, table, beyond, order) =
            if at.finished { (DONE, "done", "<", "DESC") } else { (TASK, "task", ">", "ASC") };
        let (low, high) = filter.ids;
        let from = if at.finished { at.id.min(high) } else { at.id.max(low) };
        let words = filter.words_query(at.finished);
        let scan_end: Option<i64> = if let Some(words) = &words {
            self.conn
                .prepare_cached(&format!(
                    "SELECT rowid FROM history_text WHERE history_text MATCH ?1 AND rowid < ?2 \
                     ORDER BY rowid DESC LIMIT 1 OFFSET {}",
                    MATCH_MAX - 1
                ))?
                .query_row(params![words, from], |r| r.get(0))
                .optional()?
        } else if filter.scans(at.finished) {
            self.conn
                .prepare_cached(&format!(
                    "SELECT id FROM {table} WHERE id {beyond} ?1 ORDER BY id {order} LIMIT 1 OFFSET {}",
                    SCAN_MAX - 1
                ))?
                .query_row([from], |r| r.get(0))
                .optional()?
        } else {
            None
        };
        let mut args = vec![Value::from(from), low.into(), high.into()];
        let mut sql = format!(
            "SELECT {columns} FROM {table} {} WHERE id {beyond} ?1 AND id > ?2 AND id < ?3",
            filter.index(at.finished)
        );
        filter.clauses(at.finished, table, &mut sql, &mut args);
        if let Some(end) = scan_end {
            args.push(end.into());
            sql += &format!(" AND id {beyond}= ?{}", args.len());
        }
        if let Some(words) = words {
            args.push(words.into());
            args.push(scan_end.unwrap_or(i64::MIN).into());
            let (words, end) = (args.len() - 1, args.len());
            sql += &format!(
                " AND id IN (SELECT rowid FROM history_text WHERE history_text MATCH ?{words} \
                 AND rowid < ?1 AND rowid >= ?{end})"
            );
        }
        args.push(Value::from(limit as i64));
        sql += &format!(" ORDER BY id {order} LIMIT ?{}", args.len());
        let rows: Vec<Found> = self
            .conn
            .prepare_cached(&sql)?
            .query_map(params_from_iter(args), found)?
            .collect::<rusqlite::Result<_>>()?;
        // A scan that has come out of the asked ids on the far side has seen them all.
        let scan_end = scan_end.filter(|end| low < *end && *end < high);
        let end = if rows.len() >= limit { rows.last().map(|f| f.task.id.raw()) } else { scan_end };
        Ok(Part { rows, end })
    }
}

struct Part {
    rows: Vec<Found>,
    /// The last id looked at; `None` when the table's end was reached.
    end: Option<i64>,
}

fn attempt_row(r: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    let word: String = r.get(5)?;
    Ok(AttemptRow {
        n: r.get(0)?,
        worker: r.get::<_, Option<String>>(1)?.unwrap_or_default().into(),
        pid: r.get(2)?,
        started_at_ms: r.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
        ended_at_ms: Some(r.get::<_, i64>(4)?.unsigned_abs()),
        outcome: Some(word.parse().map_err(|e| damaged(format!("{e}")))?),
        error: error_of(r.get(6)?)?,
        said: None,
    })
}
