-- Schema 2: the durable task queue. Additive over schema 1; never edited once released.
-- One headed section per matter. What is per task and seldom set goes into `task.options`, not into a column.

-- == History: bounds per queue, search ==

-- Bytes of payload, result and error, set only where the queue has bounds of its own: other queues pay nothing.
ALTER TABLE done ADD COLUMN bytes INTEGER;
CREATE INDEX done_kept ON done (queue, state = 6, ended_at) WHERE bytes IS NOT NULL;

-- Bounds of a queue's history (`dead` 0) and of its dead letters (`dead` 1), and what is there. NULL: no such bound.
CREATE TABLE keep (
  queue INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  max_rows INTEGER,
  max_age_ms INTEGER,
  max_bytes INTEGER,
  -- What is there, of rows with `bytes` only.
  rows INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  -- Rows finished before the bounds came are counted in by steps: those above this id are in. NULL: all are.
  adopt_below INTEGER,
  PRIMARY KEY (queue, dead)
) WITHOUT ROWID;

-- Words of finished tasks of queues that ask for it, written behind the commits.
CREATE VIRTUAL TABLE history_text USING fts5(
  kind, tags, payload, result, error, content = '', contentless_delete = 1
);
-- Queues whose finished tasks are searchable.
CREATE TABLE searchable (queue INTEGER PRIMARY KEY);
-- Finished tasks whose words are not written yet (`gone`: are to be taken out).
CREATE TABLE unsearched (id INTEGER PRIMARY KEY, gone INTEGER NOT NULL DEFAULT 0);

-- == Dead letters ==

-- Why a task was given up: attempts, non_retryable, max_age, quarantined, stuck. NULL: discarded under schema 1.
ALTER TABLE done ADD COLUMN reason TEXT;

-- == (append your own headed section below) ==
