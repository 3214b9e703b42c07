//! Schedules and their fires.

use std::sync::Arc;

use ganger_core::TaskId;
use rusqlite::{OptionalExtension, params};

use super::apply::Tx;
use super::int;
use super::read::{SqliteReader, task_id};
use crate::schedule::{Fire, FireRow, ScheduleMark, ScheduleRow};

/// Fires kept per schedule: some weeks of an hourly one. The mark keeps older ones from happening again.
const FIRES_KEPT: i64 = 1_000;

impl Tx<'_> {
    /// A fire without a push.
    pub(super) fn fire(&self, fire: &Fire) -> rusqlite::Result<()> {
        if fire.task.is_some() {
            return self.fire_with(fire, fire.task).map(drop);
        }
        let written = self.write_fire(fire, None)?;
        let left_out = fire.why.is_some() && written;
        self.mark(fire, None, left_out)?;
        self.drop_old_fires(&fire.schedule)
    }

    /// A fire with its task. Gives the task that it has already, if it has.
    pub(super) fn fire_with(
        &self,
        fire: &Fire,
        task: Option<TaskId>,
    ) -> rusqlite::Result<Option<TaskId>> {
        let Some(task) = task else { return Ok(None) };
        if self.write_fire(fire, Some(task))? {
            self.mark(fire, Some(task), false)?;
            self.drop_old_fires(&fire.schedule)?;
            return Ok(None);
        }
        let known: Option<i64> = self
            .conn
            .prepare_cached("SELECT task FROM fire WHERE schedule = ?1 AND fire_at = ?2")?
            .query_row(params![&*fire.schedule, int(fire.fire_ms)], |r| r.get(0))
            .optional()?
            .flatten();
        self.mark(fire, None, false)?;
        known.map(task_id).transpose()
    }

    /// False when the fire has a task or a reason already.
    fn write_fire(&self, fire: &Fire, task: Option<TaskId>) -> rusqlite::Result<bool> {
        let written = self
            .conn
            .prepare_cached(
                "INSERT INTO fire VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET \
                 made_at = excluded.made_at, task = excluded.task, why = excluded.why \
                 WHERE task IS NULL AND (why IS NULL OR excluded.task IS NOT NULL)",
            )?
            .execute(params![
                &*fire.schedule,
                int(fire.fire_ms),
                int(fire.made_ms),
                task.map(TaskId::raw),
                fire.why
            ])?;
        Ok(written == 1)
    }

    fn mark(&self, fire: &Fire, task: Option<TaskId>, left_out: bool) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(
                "UPDATE schedule SET after = coalesce(?2, after), task = coalesce(?3, task), \
                 last_fire = CASE WHEN ?3 IS NULL THEN last_fire ELSE ?4 END, \
                 fired = fired + (?3 IS NOT NULL), skipped = skipped + ?5 WHERE name = ?1",
            )?
            .execute(params![
                &*fire.schedule,
                fire.after_ms.map(int),
                task.map(TaskId::raw),
                int(fire.fire_ms),
                left_out
            ])?;
        Ok(())
    }

    fn drop_old_fires(&self, schedule: &str) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(
                "DELETE FROM fire WHERE schedule = ?1 AND (task IS NOT NULL OR why IS NOT NULL) \
                 AND fire_at <= (SELECT fire_at FROM fire WHERE schedule = ?1 \
                 ORDER BY fire_at DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![schedule, FIRES_KEPT])?;
        Ok(())
    }

    /// Sets where a schedule is, or forgets it.
    pub(super) fn schedule(
        &self,
        name: &Arc<str>,
        mark: Option<&ScheduleMark>,
    ) -> rusqlite::Result<()> {
        let Some(mark) = mark else {
            self.conn.prepare_cached("DELETE FROM schedule WHERE name = ?1")?.execute([&**name])?;
            self.conn.prepare_cached("DELETE FROM fire WHERE schedule = ?1")?.execute([&**name])?;
            return Ok(());
        };
        self.conn
            .prepare_cached(
                "INSERT INTO schedule (name, plan, after, paused, config_paused) \
                 VALUES (?1, ?2, coalesce(?3, 0), ?4, ?5) ON CONFLICT DO UPDATE SET \
                 plan = excluded.plan, after = coalesce(?3, after), paused = excluded.paused, \
                 config_paused = excluded.config_paused",
            )?
            .execute(params![
                &**name,
                mark.plan,
                mark.after_ms.map(int),
                mark.paused,
                mark.config_paused
            ])?;
        Ok(())
    }
}

impl SqliteReader {
    pub(super) fn schedules_now(&self) -> rusqlite::Result<Vec<ScheduleRow>> {
        let mut rows: Vec<ScheduleRow> = self
            .conn
            .prepare_cached(
                "SELECT name, plan, after, paused, config_paused, task, last_fire, fired, skipped \
                 FROM schedule ORDER BY name",
            )?
            .query_map([], |r| {
                Ok(ScheduleRow {
                    name: r.get::<_, String>(0)?.into(),
                    mark: ScheduleMark {
                        plan: r.get::<_, String>(1)?.into(),
                        after_ms: r.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
                        paused: r.get(3)?,
                        config_paused: r.get(4)?,
                    },
                    task: r.get::<_, Option<i64>>(5)?.map(task_id).transpose()?,
                    last_fire_ms: r.get::<_, Option<i64>>(6)?.map(i64::unsigned_abs),
                    fired: r.get::<_, i64>(7)?.unsigned_abs(),
                    skipped: r.get::<_, i64>(8)?.unsigned_abs(),
                    held: Vec::new(),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut held = self.conn.prepare_cached(
            "SELECT fire_at FROM fire INDEXED BY fire_waits \
             WHERE schedule = ?1 AND task IS NULL AND why IS NULL ORDER BY fire_at",
        )?;
        for row in &mut rows {
            let found = held.query_map([&*row.name], |r| r.get::<_, i64>(0))?;
            row.held = found.map(|at| at.map(i64::unsigned_abs)).collect::<Result<_, _>>()?;
        }
        Ok(rows)
    }

    pub(super) fn fires_now(&self, name: &str, limit: usize) -> rusqlite::Result<Vec<FireRow>> {
        self.conn
            .prepare_cached(
                "SELECT fire_at, made_at, task, why FROM fire WHERE schedule = ?1 \
                 ORDER BY fire_at DESC LIMIT ?2",
            )?
            .query_map(params![name, limit as i64], |r| {
                Ok(FireRow {
                    fire_ms: r.get::<_, i64>(0)?.unsigned_abs(),
                    made_ms: r.get::<_, i64>(1)?.unsigned_abs(),
                    task: r.get::<_, Option<i64>>(2)?.map(task_id).transpose()?,
                    why: r.get(3)?,
                })
            })?
            .collect()
    }
}
