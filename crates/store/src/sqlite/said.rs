//! What attempts said: one row each, and none for those that said nothing.

use std::collections::HashMap;

use ganger_core::{TaskId, Token};
use rusqlite::{Connection, params};

use super::apply::Tx;
use super::{SqliteStore, damaged, int, unencodable};
use crate::batch::{AttemptWord, Outcome};
use crate::said::Said;

impl Tx<'_> {
    /// Stores it where the task still runs under this very token.
    pub(super) fn said(&mut self, id: TaskId, token: Token, said: &Said) -> rusqlite::Result<()> {
        let text = serde_json::to_string(said).map_err(unencodable)?;
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO said SELECT id, attempt, ?4 FROM task \
                 WHERE id = ?1 AND state = 2 AND epoch = ?2 AND counter = ?3",
            )?
            .execute(params![id.raw(), token.epoch, int(token.counter), text])?;
        Ok(())
    }

    /// Before the row it hangs on moves. The number of a released attempt is used again, so its words go.
    pub(super) fn said_at_end(&mut self, outcome: &Outcome, said: &Said) -> rusqlite::Result<()> {
        let (id, token) = (outcome.id, outcome.token);
        if outcome.word != AttemptWord::Released {
            return self.said(id, token, said);
        }
        self.conn
            .prepare_cached(
                "DELETE FROM said WHERE id = ?1 AND n = (SELECT attempt FROM task \
                 WHERE id = ?1 AND state = 2 AND epoch = ?2 AND counter = ?3)",
            )?
            .execute(params![id.raw(), token.epoch, int(token.counter)])?;
        Ok(())
    }
}

impl SqliteStore {
    /// Whether any attempt said anything: histories without pay for no look-up per task.
    pub(super) fn any_said(&self) -> rusqlite::Result<bool> {
        self.conn.prepare_cached("SELECT 1 FROM said LIMIT 1")?.exists([])
    }
}

/// By number of the attempt.
pub(super) fn of_task(conn: &Connection, id: TaskId) -> rusqlite::Result<HashMap<u32, Box<Said>>> {
    let mut all = HashMap::new();
    let mut read = conn.prepare_cached("SELECT n, said FROM said WHERE id = ?1")?;
    let mut rows = read.query([id.raw()])?;
    while let Some(row) = rows.next()? {
        if let Some(said) = from_json(row.get(1)?)? {
            all.insert(row.get(0)?, said);
        }
    }
    Ok(all)
}

pub(super) fn from_json(text: Option<String>) -> rusqlite::Result<Option<Box<Said>>> {
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| damaged(format!("what an attempt said: {e}")))
}
