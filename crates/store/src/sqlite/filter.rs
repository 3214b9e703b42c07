//! What a list asks for, as SQL.
//!
//! The table's own order (by id, which begins with the time of the push) is the order of the pages, so times are ranges of
//! ids. What has no index is looked through, a bounded number of rows per page; [`Filter::scans`] says when.

use ganger_core::{TaskId, TaskState};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use crate::rows::TaskQuery;

/// Words of a search; more would only make it slow.
const WORDS_MAX: usize = 16;

/// By id, which is the order of the pages.
const TABLE_ORDER: &str = "NOT INDEXED";
/// Rows that are sorted rather than walked to: some ten milliseconds.
const FEW: u64 = 10_000;

/// The counters of some states, of one queue or of all.
fn counted(conn: &Connection, queue: Option<i64>, states: &[TaskState]) -> rusqlite::Result<u64> {
    let mut sum = conn.prepare_cached(
        "SELECT coalesce(sum(n), 0) FROM counter WHERE (?1 IS NULL OR queue = ?1) AND state = ?2",
    )?;
    let one =
        |state: &TaskState| sum.query_row(params![queue, *state as i64], |r| r.get::<_, i64>(0));
    states.iter().map(one).map(|n| Ok(n?.max(0).unsigned_abs())).sum()
}

/// See the module.
#[derive(Debug)]
pub(super) struct Filter {
    queue: Option<i64>,
    state: Option<TaskState>,
    kind: Option<String>,
    tag: Option<String>,
    words: Vec<String>,
    /// Ids of the asked times, both ends exclusive.
    pub(super) ids: (i64, i64),
    /// Finished tasks of this queue are found by an index of words.
    indexed_words: bool,
    /// How many tasks the state has, by the counters; more than there are for states that count all that ever were.
    in_state: u64,
    /// How many wait for a time: what the index of due tasks holds.
    waiting: u64,
}

impl Filter {
    pub(super) fn new(
        conn: &Connection,
        query: &TaskQuery,
        queue: Option<i64>,
    ) -> rusqlite::Result<Self> {
        let words: Vec<String> = query
            .text
            .iter()
            .flat_map(|t| t.split_whitespace())
            .take(WORDS_MAX)
            .map(str::to_owned)
            .collect();
        let indexed_words = match queue {
            Some(queue) if !words.is_empty() => conn
                .prepare_cached("SELECT 1 FROM searchable WHERE queue = ?1")?
                .query_row([queue], |_| Ok(()))
                .optional()?
                .is_some(),
            _ => false,
        };
        let first_id = |ms: u64| TaskId::first_at(ms).raw();
        Ok(Self {
            queue,
            state: query.state,
            kind: query.kind.clone(),
            tag: query.tag.clone(),
            words,
            ids: (
                query.since_ms.map_or(i64::MIN, |ms| first_id(ms) - 1),
                query.until_ms.map_or(i64::MAX, first_id),
            ),
            indexed_words,
            in_state: query.state.map_or(Ok(0), |state| counted(conn, queue, &[state]))?,
            waiting: counted(conn, None, &[TaskState::Scheduled, TaskState::Retryable])?,
        })
    }

    /// True when the counters say that there is no such task.
    pub(super) const fn is_empty(&self) -> bool {
        self.state.is_some() && self.in_state == 0
    }

    /// The index that leads to few enough rows to sort them, instead of the table's order.
    pub(super) fn index(&self, finished: bool) -> &'static str {
        let few = |n: u64| n <= FEW;
        match self.state {
            Some(TaskState::Scheduled | TaskState::Retryable) if few(self.waiting) => {
                "INDEXED BY task_due"
            }
            Some(TaskState::Available) if self.queue.is_some() && few(self.in_state) => {
                "INDEXED BY task_ready"
            }
            Some(TaskState::Running) => "INDEXED BY task_running",
            Some(TaskState::Discarded) if finished && self.queue.is_some() => {
                "INDEXED BY done_discarded"
            }
            // Else SQLite may take an index of far more rows and sort them all.
            _ => TABLE_ORDER,
        }
    }

    /// What the index of words is asked, when finished tasks are found by it.
    pub(super) fn words_query(&self, finished: bool) -> Option<String> {
        (finished && self.indexed_words).then(|| {
            let words = self.words.iter().map(|w| format!("\"{}\"", w.replace('"', "\"\"")));
            words.collect::<Vec<_>>().join(" ") + "*"
        })
    }

    /// True when rows have to be looked through one by one.
    pub(super) fn scans(&self, finished: bool) -> bool {
        let few = !finished && self.index(finished) != TABLE_ORDER;
        if self.words.is_empty() && !few && (self.kind.is_some() || self.tag.is_some()) {
            return true;
        }
        if !self.words.is_empty() {
            // What an index of words leaves is few, so what else is asked for is checked on each of them.
            return !(few || finished && self.indexed_words);
        }
        let indexed = self.index(finished) != TABLE_ORDER;
        (self.queue.is_some() || self.state.is_some()) && !indexed
    }

    /// Adds ` AND …` and the arguments.
    pub(super) fn clauses(
        &self,
        finished: bool,
        table: &str,
        sql: &mut String,
        args: &mut Vec<Value>,
    ) {
        let mut arg = |sql: &mut String, before: &str, value: Value, after: &str| {
            args.push(value);
            *sql += &format!(" AND {before}?{}{after}", args.len());
        };
        if let Some(state) = self.state {
            // The partial index is taken only when its own condition stands there.
            if matches!(state, TaskState::Scheduled | TaskState::Retryable) && !finished {
                *sql += " AND state IN (0, 3)";
            }
            *sql += &format!(" AND state = {}", state as i64);
        }
        if let Some(queue) = self.queue {
            arg(sql, "queue = ", queue.into(), "");
        }
        if let Some(kind) = &self.kind {
            arg(sql, "kind = ", kind.clone().into(), "");
        }
        if let Some(tag) = &self.tag {
            // Most tasks have no options, and those are done with at the first look.
            *sql += " AND options IS NOT NULL";
            arg(
                sql,
                "EXISTS (SELECT 1 FROM json_each(options, '$.tags') WHERE value = ",
                tag.clone().into(),
                ")",
            );
        }
        if finished && self.indexed_words {
            return;
        }
        for word in &self.words {
            let text = format!(
                "coalesce(kind, '') || ' ' || coalesce(options, '') || ' ' || \
                 CAST(coalesce(payload, (SELECT bytes FROM body WHERE body.id = {table}.id)) AS TEXT)"
            );
            let text = if finished {
                format!(
                    "({text} || ' ' || CAST(coalesce(result, '') AS TEXT) || ' ' || coalesce(error, ''))"
                )
            } else {
                format!("({text})")
            };
            let like = word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            arg(sql, &format!("{text} LIKE "), format!("%{like}%").into(), " ESCAPE '\\'");
        }
    }
}
