//! Token buckets: one row each, replaced by every commit that claims from it.

use std::sync::Arc;

use rusqlite::params;

use super::apply::Tx;
use super::int;
use super::read::SqliteReader;

impl Tx<'_> {
    pub(super) fn buckets(
        &mut self,
        queue: i64,
        full_at: &[(Arc<str>, u64)],
    ) -> rusqlite::Result<()> {
        let mut put =
            self.conn.prepare_cached("INSERT OR REPLACE INTO bucket VALUES (?1, ?2, ?3)")?;
        full_at.iter().try_for_each(|(of, at)| put.execute(params![queue, of, int(*at)]).map(drop))
    }
}

impl SqliteReader {
    pub(super) fn bucket_rows(&self, queue: &str) -> rusqlite::Result<Vec<(Arc<str>, u64)>> {
        self.conn
            .prepare_cached(
                "SELECT of, full_at FROM bucket WHERE queue = (SELECT no FROM queue WHERE name = ?1) \
                 ORDER BY of",
            )?
            .query_map([queue], |r| Ok((r.get::<_, String>(0)?.into(), r.get::<_, i64>(1)?.max(0).unsigned_abs())))?
            .collect()
    }
}
