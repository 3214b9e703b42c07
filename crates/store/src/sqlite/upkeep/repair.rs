//! Putting right what can be known from the rows: indexes, counters, rows that belong to none.

use std::path::Path;

use super::{UpkeepError, open};

/// What a repair changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows removed that belonged to no task.
    pub orphans: u64,
}

/// Every number that is kept beside rows, from the rows. `completed` and `cancelled` also count what has left the
/// history, so they only rise.
const RECOUNT: &str = "
    CREATE TEMP TABLE found AS
      SELECT queue, state, count(*) AS n FROM task GROUP BY queue, state
      UNION ALL SELECT queue, state, count(*) FROM done GROUP BY queue, state;
    INSERT INTO counter SELECT queue, state, 0 FROM temp.found WHERE true ON CONFLICT DO NOTHING;
    UPDATE counter SET n = max(
      CASE WHEN state IN (4, 5) THEN n ELSE 0 END,
      coalesce((SELECT f.n FROM temp.found f WHERE f.queue = counter.queue AND f.state = counter.state), 0));
    DROP TABLE temp.found;
    UPDATE meta SET value = (SELECT count(*) FROM done) WHERE name = 'done_rows';
    UPDATE meta SET value = max(value, (SELECT coalesce(max(id), -1) FROM task),
      (SELECT coalesce(max(id), -1) FROM done)) WHERE name = 'id_floor';
    UPDATE keep SET
      rows = (SELECT count(*) FROM done WHERE queue = keep.queue AND (state = 6) = dead AND bytes IS NOT NULL),
      bytes = (SELECT coalesce(sum(bytes), 0) FROM done
               WHERE queue = keep.queue AND (state = 6) = dead AND bytes IS NOT NULL);";

/// Rebuilds indexes, counts anew, removes rows that belong to no task; in one transaction. The caller holds the state
/// folder's lock.
///
/// # Errors
/// Nothing was changed.
pub fn repair(db: &Path) -> Result<Repaired, UpkeepError> {
    let fail = UpkeepError::sql("repairing", db);
    let mut conn = open(db)?;
    conn.execute_batch("PRAGMA synchronous = FULL").map_err(&fail)?;
    let tx = conn.transaction().map_err(&fail)?;
    tx.execute_batch("REINDEX").map_err(&fail)?;
    let mut orphans = 0;
    for table in ["body", "attempt", "said"] {
        let sql = format!(
            "DELETE FROM {table} WHERE id NOT IN (SELECT id FROM task) \
             AND id NOT IN (SELECT id FROM done)"
        );
        orphans += tx.execute(&sql, []).map_err(&fail)? as u64;
    }
    tx.execute_batch(RECOUNT).map_err(&fail)?;
    tx.commit().map_err(&fail)?;
    Ok(Repaired { orphans })
}
