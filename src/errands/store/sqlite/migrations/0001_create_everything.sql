-- Ids are 41 bits of milliseconds, 10 of node, 12 of counter: in order of time, made by the process.
-- Payloads are blobs of JSON, checked at the door. No foreign keys: rows that belong together are
-- written in one transaction, and trimmed in one.

-- 'config_version' and 'last_wait' (how many waits were ever registered) are read by every cycle; 'key' is the
-- installation's secret for public ids.
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE worker(
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL, app TEXT NOT NULL,
  state INTEGER NOT NULL CHECK (state IN (1, 2, 3)), started_at INTEGER NOT NULL, concurrency INTEGER NOT NULL);
CREATE INDEX worker_alive ON worker(id) WHERE state = 1;
-- Heartbeats are inserted and trimmed, never updated: no hot row.
CREATE TABLE beat(worker INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (worker, at)) WITHOUT ROWID;

CREATE TABLE function(
  id INTEGER PRIMARY KEY, app TEXT NOT NULL, slug TEXT NOT NULL, config BLOB NOT NULL, retired INTEGER NOT NULL,
  UNIQUE (app, slug));
-- Runs of function 0 are external jobs: never executed, user code says how they go.
INSERT INTO function(id, app, slug, config, retired)
VALUES (0, 'errands', 'external', CAST('{"slug":"external","name":"External job","kind":4}' AS BLOB), 0);
-- By which values waits for an event are looked up. event: '' is any, by its own name.
CREATE TABLE shape(id INTEGER PRIMARY KEY, event TEXT NOT NULL, paths BLOB NOT NULL);

CREATE TABLE event(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB NOT NULL, at INTEGER NOT NULL, key TEXT, user BLOB, v TEXT);
CREATE TABLE dedup(
  scope INTEGER NOT NULL, key TEXT NOT NULL, ref INTEGER NOT NULL, expires_at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)) WITHOUT ROWID;
CREATE INDEX dedup_expires ON dedup(expires_at);

-- Written once, never updated.
CREATE TABLE run(
  id INTEGER PRIMARY KEY, function INTEGER NOT NULL, event INTEGER, input BLOB, parent INTEGER, parent_step TEXT,
  retries BLOB, trace TEXT);
CREATE INDEX run_function ON run(function, id);
CREATE INDEX run_event ON run(event) WHERE event IS NOT NULL;
CREATE INDEX run_parent ON run(parent) WHERE parent IS NOT NULL;
CREATE TABLE done(
  run INTEGER PRIMARY KEY, function INTEGER NOT NULL, status INTEGER NOT NULL CHECK (status IN (3, 4, 5)),
  at INTEGER NOT NULL, keep_until INTEGER NOT NULL, output BLOB NOT NULL, attempt INTEGER NOT NULL,
  started_at INTEGER, worker INTEGER);
-- What failed or was cancelled is rare, so this is cheap.
CREATE INDEX done_bad ON done(function, status, run) WHERE status <> 3;
-- Each external job says itself how long it is kept.
CREATE INDEX done_external ON done(keep_until) WHERE function = 0;
CREATE TABLE label(label TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (label, run)) WITHOUT ROWID;
CREATE INDEX label_run ON label(run);

-- All of a run that moves; gone when it has ended. place: 1 ready, 2 running, 4 parked.
CREATE TABLE item(
  run INTEGER PRIMARY KEY, function INTEGER NOT NULL, place INTEGER NOT NULL CHECK (place IN (1, 2, 4)),
  updated_at INTEGER NOT NULL, fence INTEGER NOT NULL, attempt INTEGER NOT NULL, crashes INTEGER NOT NULL,
  seq INTEGER NOT NULL, position INTEGER NOT NULL, due INTEGER, worker INTEGER, leased_at INTEGER,
  started_at INTEGER, start_by INTEGER, finish_by INTEGER, parent INTEGER, parent_step TEXT,
  CHECK ((place = 2) = (worker IS NOT NULL)));
CREATE INDEX item_worker ON item(worker) WHERE worker IS NOT NULL;
-- The lane is the function; class 0 continues a run, 1 starts one, 2 is suspected of crashing its worker.
CREATE TABLE ready(
  lane INTEGER NOT NULL, class INTEGER NOT NULL, position INTEGER NOT NULL, run INTEGER NOT NULL,
  PRIMARY KEY (lane, class, position)) WITHOUT ROWID;
CREATE TABLE timer(
  due INTEGER NOT NULL, run INTEGER NOT NULL, kind INTEGER NOT NULL, step TEXT NOT NULL,
  PRIMARY KEY (due, run, kind, step)) WITHOUT ROWID;

CREATE TABLE step(
  run INTEGER NOT NULL, id TEXT NOT NULL, kind INTEGER NOT NULL, status INTEGER NOT NULL, seq INTEGER,
  attempt INTEGER NOT NULL, main INTEGER NOT NULL, started_at INTEGER NOT NULL, at INTEGER NOT NULL, due INTEGER,
  match INTEGER, output BLOB, PRIMARY KEY (run, id)) WITHOUT ROWID;
-- Results that the run has not seen: open steps, and those resolved while it executes.
CREATE INDEX step_unseen ON step(run) WHERE seq IS NULL;
CREATE TABLE wait(
  match INTEGER NOT NULL, run INTEGER NOT NULL, step TEXT NOT NULL, number INTEGER NOT NULL, condition TEXT, context BLOB,
  PRIMARY KEY (match, run, step)) WITHOUT ROWID;

CREATE TABLE history(
  run INTEGER NOT NULL, id INTEGER NOT NULL, at INTEGER NOT NULL, moment INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE log(
  run INTEGER NOT NULL, id INTEGER NOT NULL, at INTEGER NOT NULL, step TEXT, attempt INTEGER NOT NULL,
  level INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE progress(run INTEGER PRIMARY KEY, percent REAL, note TEXT, at INTEGER NOT NULL);

-- Inputs that are durable but not yet decided. worker: who decides it; NULL: anybody.
CREATE TABLE inbox(id INTEGER PRIMARY KEY, worker INTEGER, tries INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX inbox_worker ON inbox(worker, id);
