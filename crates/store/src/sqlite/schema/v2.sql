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

-- == Schedules ==

-- Where each schedule is. Fires up to and with `after` are dealt with; `task` is that of the last fire.
CREATE TABLE schedule (
  name TEXT PRIMARY KEY,
  plan TEXT NOT NULL,
  after INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  config_paused INTEGER NOT NULL,
  task INTEGER,
  last_fire INTEGER,
  fired INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- One row per fire, written by the commit that pushes its task: no fire happens twice. With neither `task` nor `why` it waits
-- for the one before; `why` says why it has no task.
CREATE TABLE fire (
  schedule TEXT NOT NULL,
  fire_at INTEGER NOT NULL,
  made_at INTEGER NOT NULL,
  task INTEGER,
  why TEXT,
  PRIMARY KEY (schedule, fire_at)
) WITHOUT ROWID;
CREATE INDEX fire_waits ON fire (schedule, fire_at) WHERE task IS NULL AND why IS NULL;

-- == Control: unique tasks, last moments, cached results ==

-- Who holds a key. `until` 0: until the task starts, 1: until it has ended, else that moment.
CREATE TABLE dedupe (
  queue INTEGER NOT NULL, key TEXT NOT NULL, id INTEGER NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX dedupe_id ON dedupe (id);
CREATE INDEX dedupe_until ON dedupe (until) WHERE until > 1;

-- Moments at which a task must be looked at: its deadline, its expiry.
CREATE TABLE task_limit (at INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (at, id)) WITHOUT ROWID;

-- When results are dropped.
CREATE TABLE result_limit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE INDEX result_limit_at ON result_limit (at);

-- Results that serve identical tasks. `used` rises with each use: the lowest goes first.
CREATE TABLE cache (
  queue INTEGER NOT NULL, key TEXT NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL, result BLOB NOT NULL,
  UNIQUE (queue, key)
);
CREATE INDEX cache_used ON cache (queue, used);
CREATE INDEX cache_expires ON cache (expires);
CREATE TABLE cache_total (
  queue INTEGER PRIMARY KEY, entries INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
  hits INTEGER NOT NULL DEFAULT 0, misses INTEGER NOT NULL DEFAULT 0, evicted INTEGER NOT NULL DEFAULT 0
);

-- The task under way for an input, and those that wait for its result.
CREATE TABLE flight (
  queue INTEGER NOT NULL, key TEXT NOT NULL, leader INTEGER NOT NULL, n INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE TABLE follower (leader INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (leader, id)) WITHOUT ROWID;
CREATE INDEX follower_id ON follower (id);

-- == Gates: pause and drain ==

-- Takes nothing new while 1.
ALTER TABLE queue ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
-- When `paused` or `draining` changed last, and whether the configuration did it.
ALTER TABLE queue ADD COLUMN gated_at INTEGER;
ALTER TABLE queue ADD COLUMN gated_by_config INTEGER NOT NULL DEFAULT 0;

-- == Progress and log lines ==

-- What attempts said, as JSON: of a running one now and then, of one that ended with its outcome. Most tasks say nothing
-- and have no row.
CREATE TABLE said (id INTEGER NOT NULL, n INTEGER NOT NULL, said TEXT NOT NULL, PRIMARY KEY (id, n)) WITHOUT ROWID;

-- == Token buckets of rates ==

-- When each would be full again; written by the commits that claim from it. `of`: '' the queue, kind/NAME, key/NAME.
CREATE TABLE bucket (queue INTEGER NOT NULL, of TEXT NOT NULL, full_at INTEGER NOT NULL, PRIMARY KEY (queue, of)) WITHOUT ROWID;
CREATE INDEX bucket_full ON bucket (full_at);

-- == (append your own headed section below) ==
