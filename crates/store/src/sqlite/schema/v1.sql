-- Schema 1. Never edited once released: changes go into the next file.
-- States are 0 scheduled, 1 available, 2 running, 3 retryable, 4 completed, 5 cancelled, 6 discarded.
-- Times are milliseconds since 1970.

-- Single numbers: epoch, id_floor, done_rows.
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('id_floor', -1), ('done_rows', 0);

CREATE TABLE migration (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL, by TEXT NOT NULL);

CREATE TABLE queue (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, paused INTEGER NOT NULL DEFAULT 0);

-- How many tasks are in each state; kept in the transaction that moves them.
CREATE TABLE counter (
  queue INTEGER NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (queue, state)
) WITHOUT ROWID;

-- Unfinished tasks. What most rows have comes first; a payload over 1 KiB is in `body`.
CREATE TABLE task (
  id INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  state INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  run_at INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0,
  base INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  counter INTEGER NOT NULL DEFAULT 0,
  pid INTEGER NOT NULL DEFAULT 0,
  claimed_at INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER,
  worker TEXT,
  kind TEXT,
  options TEXT,
  payload BLOB
);
CREATE INDEX task_ready ON task (queue, priority, seq) WHERE state = 1;
CREATE INDEX task_due ON task (run_at) WHERE state IN (0, 3);
-- What a new daemon finds under a claim.
CREATE INDEX task_running ON task (id) WHERE state = 2;

-- Payloads too long to be copied along when their row changes. Lives as long as the task is known.
CREATE TABLE body (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

-- Finished tasks. A completed task's last attempt is in its own columns, every other attempt in `attempt`.
CREATE TABLE done (
  id INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  state INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  base INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  pid INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER NOT NULL,
  worker TEXT,
  kind TEXT,
  options TEXT,
  payload BLOB,
  result BLOB,
  error TEXT
);
-- Dead letters are looked for among very many completed ones.
CREATE INDEX done_discarded ON done (queue, id) WHERE state = 6;

CREATE TABLE attempt (
  id INTEGER NOT NULL,
  n INTEGER NOT NULL,
  worker TEXT,
  pid INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  error TEXT,
  PRIMARY KEY (id, n)
) WITHOUT ROWID;

-- What a push's idempotency key stands for: the ids as big-endian 64-bit numbers.
CREATE TABLE pushed (
  queue INTEGER NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, ids BLOB NOT NULL, PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX pushed_at ON pushed (at);

CREATE TABLE event (seq INTEGER PRIMARY KEY, event TEXT NOT NULL);

CREATE TABLE desired (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
