//! Is everything as it must be? Pages and indexes by SQLite, numbers and rows by our own rules, all on one snapshot.

use std::path::Path;

use rusqlite::Connection;

use super::{UpkeepError, open};
use crate::rows::StoreSize;

/// Findings of SQLite's own check that are told.
const PAGES_TOLD: usize = 20;

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Sizes of the files.
    pub size: StoreSize,
    /// Unfinished tasks looked at.
    pub unfinished: u64,
    /// Finished ones.
    pub finished: u64,
    /// What is wrong, worst first. Empty: all is well.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What, where, how many.
    pub what: String,
    /// What helps.
    pub remedy: Remedy,
}

/// What helps against a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// Pages are damaged: only a backup has what stood in them.
    Restore,
    /// Rows stand as they should, an index does not: [`super::repair()`] writes it anew.
    Reindex,
    /// Numbers kept beside the rows, or rows that belong to none: [`super::repair()`] puts them right.
    Recount,
}

impl Remedy {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Reindex => "reindex",
            Self::Recount => "recount",
        }
    }
}

/// Rows that must not exist: what they are, and how many there are.
const NEVER: [(&str, &str); 10] = [
    (
        "tasks are both unfinished and finished",
        "SELECT count(*) FROM task WHERE id IN (SELECT id FROM done)",
    ),
    (
        "tasks are of a queue that is not there",
        "SELECT (SELECT count(*) FROM task WHERE queue NOT IN (SELECT no FROM queue)) \
         + (SELECT count(*) FROM done WHERE queue NOT IN (SELECT no FROM queue))",
    ),
    (
        "unfinished tasks have a final state",
        "SELECT count(*) FROM task WHERE state NOT BETWEEN 0 AND 3",
    ),
    (
        "finished tasks have no final state",
        "SELECT count(*) FROM done WHERE state NOT BETWEEN 4 AND 6",
    ),
    (
        "running tasks carry a token that was never given out",
        "SELECT count(*) FROM task INDEXED BY task_running WHERE state = 2 AND \
         (epoch = 0 OR epoch > (SELECT value FROM meta WHERE name = 'epoch'))",
    ),
    (
        "tasks have lost their payload",
        "SELECT (SELECT count(*) FROM task WHERE payload IS NULL AND id NOT IN (SELECT id FROM body)) \
         + (SELECT count(*) FROM done WHERE payload IS NULL AND id NOT IN (SELECT id FROM body))",
    ),
    (
        "payloads belong to no task",
        "SELECT count(*) FROM body WHERE id NOT IN (SELECT id FROM task) \
         AND id NOT IN (SELECT id FROM done)",
    ),
    (
        "attempts belong to no task",
        "SELECT count(*) FROM attempt WHERE id NOT IN (SELECT id FROM task) \
         AND id NOT IN (SELECT id FROM done)",
    ),
    (
        "words belong to no task",
        "SELECT count(*) FROM said WHERE id NOT IN (SELECT id FROM task) \
         AND id NOT IN (SELECT id FROM done)",
    ),
    (
        "task ids lie above the highest one drawn",
        "SELECT count(*) FROM task WHERE id > (SELECT value FROM meta WHERE name = 'id_floor') \
         AND (SELECT value FROM meta WHERE name = 'id_floor') >= 0",
    ),
];

/// Of [`NEVER`], those that [`super::repair()`] can't put right: a row says something that can't be known any more.
const BEYOND_REPAIR: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// Reads the whole file once. A daemon may go on working; until the check is done its write-ahead log can't shrink.
///
/// # Errors
/// When the file can't be read at all; what is wrong inside it are [`Check::problems`].
pub fn check(db: &Path) -> Result<Check, UpkeepError> {
    let fail = UpkeepError::sql("checking", db);
    let mut conn = open(db)?;
    let size = super::super::read::size_of(&conn, db).map_err(&fail)?;
    let snapshot = conn.transaction().map_err(&fail)?;
    let mut problems = pages(&snapshot).map_err(&fail)?;
    let rows = |sql: &str| {
        snapshot.query_row(sql, [], |r| r.get::<_, i64>(0)).map(i64::unsigned_abs).map_err(&fail)
    };
    let damaged = problems.iter().any(|p| p.remedy == Remedy::Restore);
    if !damaged {
        problems.extend(numbers(&snapshot).map_err(&fail)?);
        problems.extend(never(&snapshot).map_err(&fail)?);
    }
    problems.sort_by_key(|p| p.remedy);
    let (unfinished, finished) = if damaged {
        (0, 0)
    } else {
        (rows("SELECT count(*) FROM task")?, rows("SELECT count(*) FROM done")?)
    };
    Ok(Check { size, unfinished, finished, problems })
}

/// SQLite's own check of pages, order and indexes.
fn pages(conn: &Connection) -> rusqlite::Result<Vec<Problem>> {
    let mut check = conn.prepare(&format!("PRAGMA integrity_check({PAGES_TOLD})"))?;
    let found = check.query_map([], |r| r.get::<_, String>(0))?;
    let told = found.filter(|row| !row.as_ref().is_ok_and(|text| text == "ok")).map(|row| {
        // An error while it reads is a finding as well.
        let what = row.unwrap_or_else(|e| e.to_string());
        let index = what.contains("missing from index") || what.contains("# of entries in index");
        let remedy = if index { Remedy::Reindex } else { Remedy::Restore };
        Problem { what, remedy }
    });
    Ok(told.take(PAGES_TOLD).collect())
}

/// Counters beside the rows they count. `completed` and `cancelled` count what ever was, so they may be higher.
const COUNTERS: &str = "
    WITH found AS (
      SELECT queue, state, count(*) AS n FROM task GROUP BY queue, state
      UNION ALL SELECT queue, state, count(*) FROM done GROUP BY queue, state
    ), pair AS (
      SELECT queue, state FROM found UNION SELECT queue, state FROM counter
    )
    SELECT coalesce((SELECT name FROM queue WHERE no = pair.queue), '#' || pair.queue), pair.state,
      coalesce(counter.n, 0) AS kept, coalesce(found.n, 0) AS rows
    FROM pair LEFT JOIN counter USING (queue, state) LEFT JOIN found USING (queue, state)
    WHERE CASE WHEN pair.state IN (4, 5) THEN kept < rows ELSE kept <> rows END";

fn numbers(conn: &Connection) -> rusqlite::Result<Vec<Problem>> {
    let recount = |what| Problem { what, remedy: Remedy::Recount };
    let mut wrong = conn.prepare(COUNTERS)?;
    let mut problems: Vec<Problem> = wrong
        .query_map([], |r| {
            let (queue, state): (String, i64) = (r.get(0)?, r.get(1)?);
            let (kept, rows): (i64, i64) = (r.get(2)?, r.get(3)?);
            let state = super::super::state_of(state).map_or(state.to_string(), |s| s.to_string());
            Ok(recount(format!("queue {queue} counts {kept} {state} tasks, there are {rows}")))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let (kept, rows): (i64, i64) = conn.query_row(
        "SELECT (SELECT value FROM meta WHERE name = 'done_rows'), (SELECT count(*) FROM done)",
        [],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?;
    if kept != rows {
        problems.push(recount(format!("{kept} finished tasks are counted, there are {rows}")));
    }
    Ok(problems)
}

fn never(conn: &Connection) -> rusqlite::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (at, (what, sql)) in NEVER.into_iter().enumerate() {
        let n: i64 = conn.query_row(sql, [], |r| r.get(0))?;
        if n != 0 {
            let beyond = BEYOND_REPAIR.contains(&at);
            let remedy = if beyond { Remedy::Restore } else { Remedy::Recount };
            problems.push(Problem { what: format!("{n} {what}"), remedy });
        }
    }
    Ok(problems)
}
