-- {s} is the schema. Ids are 41 bits of milliseconds, 10 of node, 12 of counter: in order of time, made by the
-- process. Payloads are bytea of JSON, checked at the door. No foreign keys: rows that belong together are written
-- in one transaction, and trimmed in one. Keys of text are compared byte by byte, whatever the database's locale.

-- 'config_version' is read by every cycle, and locked by those that change what is registered; 'key' is the
-- installation's secret for public ids.
CREATE TABLE {s}meta(name text PRIMARY KEY, number bigint, secret bytea);
INSERT INTO {s}meta(name, number) VALUES ('config_version', 1);
-- How many waits were ever registered. No row: every batch with waits would have to wait for it.
CREATE SEQUENCE {s}wait_number AS bigint MINVALUE 0 START 0;
SELECT nextval('{s}wait_number');

-- Each batch leaves one, so that whoever has lost the answer to a COMMIT can look. Inserted and trimmed.
-- is_void: it was looked for and not found, so this batch can never be committed any more.
CREATE TABLE {s}mark(
  process bigint, batch bigint, is_void boolean NOT NULL DEFAULT false, at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (process, batch));
CREATE INDEX mark_at ON {s}mark(at);

CREATE TABLE {s}worker(
  id bigint PRIMARY KEY, node integer NOT NULL, pid integer NOT NULL, host text NOT NULL, app text NOT NULL,
  state smallint NOT NULL CHECK (state IN (1, 2, 3)), started_at bigint NOT NULL, concurrency integer NOT NULL);
CREATE INDEX worker_alive ON {s}worker(id) WHERE state = 1;
-- Heartbeats are inserted and trimmed, never updated: no hot row.
CREATE TABLE {s}beat(worker bigint NOT NULL, at bigint NOT NULL, PRIMARY KEY (worker, at));

CREATE TABLE {s}function(
  id bigint PRIMARY KEY, app text NOT NULL, slug text NOT NULL, config bytea NOT NULL, retired smallint NOT NULL,
  UNIQUE (app, slug));
-- Runs of function 0 are external jobs: never executed, user code says how they go.
INSERT INTO {s}function(id, app, slug, config, retired)
VALUES (0, 'errands', 'external', convert_to('{"slug":"external","name":"External job","kind":4}', 'UTF8'), 0);
-- By which values waits for an event are looked up. event: '' is any, by its own name.
CREATE TABLE {s}shape(id bigint PRIMARY KEY, event text NOT NULL, paths bytea NOT NULL);

CREATE TABLE {s}event(
  id bigint PRIMARY KEY, name text NOT NULL, data bytea NOT NULL, at bigint NOT NULL, key text, "user" bytea, v text);
CREATE TABLE {s}dedup(
  scope bigint NOT NULL, key text COLLATE "C" NOT NULL, ref bigint NOT NULL, expires_at bigint NOT NULL,
  PRIMARY KEY (scope, key));
CREATE INDEX dedup_expires ON {s}dedup(expires_at);

-- Written once, never updated.
CREATE TABLE {s}run(
  id bigint PRIMARY KEY, function bigint NOT NULL, event bigint, input bytea, parent bigint, parent_step text,
  retries bytea, trace text);
CREATE INDEX run_function ON {s}run(function, id);
CREATE INDEX run_event ON {s}run(event) WHERE event IS NOT NULL;
CREATE INDEX run_parent ON {s}run(parent) WHERE parent IS NOT NULL;
CREATE TABLE {s}done(
  run bigint PRIMARY KEY, function bigint NOT NULL, status smallint NOT NULL CHECK (status IN (3, 4, 5)),
  at bigint NOT NULL, keep_until bigint NOT NULL, output bytea NOT NULL, attempt integer NOT NULL,
  started_at bigint, worker bigint);
-- What failed or was cancelled is rare, so this is cheap.
CREATE INDEX done_bad ON {s}done(function, status, run) WHERE status <> 3;
-- Each external job says itself how long it is kept.
CREATE INDEX done_external ON {s}done(keep_until) WHERE function = 0;
CREATE TABLE {s}label(label text COLLATE "C" NOT NULL, run bigint NOT NULL, PRIMARY KEY (label, run));
CREATE INDEX label_run ON {s}label(run);

-- All of a run that moves; gone when it has ended. Whoever holds this row's lock decides for the run, its steps,
-- waits and timers. place: 1 ready, 2 running, 4 parked.
CREATE TABLE {s}item(
  run bigint PRIMARY KEY, function bigint NOT NULL, place smallint NOT NULL CHECK (place IN (1, 2, 4)),
  updated_at bigint NOT NULL, fence bigint NOT NULL, attempt integer NOT NULL, crashes integer NOT NULL,
  seq bigint NOT NULL, position bigint NOT NULL, due bigint, worker bigint, leased_at bigint,
  started_at bigint, start_by bigint, finish_by bigint, parent bigint, parent_step text,
  CHECK ((place = 2) = (worker IS NOT NULL)));
CREATE INDEX item_worker ON {s}item(worker) WHERE worker IS NOT NULL;
-- The lane is the function; class 0 continues a run, 1 starts one, 2 is suspected of crashing its worker.
CREATE TABLE {s}ready(
  lane bigint NOT NULL, class smallint NOT NULL, position bigint NOT NULL, run bigint NOT NULL,
  PRIMARY KEY (lane, class, position));
CREATE TABLE {s}timer(
  due bigint NOT NULL, run bigint NOT NULL, kind smallint NOT NULL, step text COLLATE "C" NOT NULL,
  PRIMARY KEY (due, run, kind, step));

CREATE TABLE {s}step(
  run bigint NOT NULL, id text COLLATE "C" NOT NULL, kind smallint NOT NULL, status smallint NOT NULL, seq bigint,
  attempt integer NOT NULL, main smallint NOT NULL, started_at bigint NOT NULL, at bigint NOT NULL, due bigint,
  match bigint, output bytea, PRIMARY KEY (run, id));
-- Results that the run has not seen: open steps, and those resolved while it executes.
CREATE INDEX step_unseen ON {s}step(run) WHERE seq IS NULL;
CREATE TABLE {s}wait(
  match bigint NOT NULL, run bigint NOT NULL, step text COLLATE "C" NOT NULL, number bigint NOT NULL,
  condition text, context bytea, PRIMARY KEY (match, run, step));

CREATE TABLE {s}history(
  run bigint NOT NULL, id bigint NOT NULL, at bigint NOT NULL, moment smallint NOT NULL, data bytea NOT NULL,
  PRIMARY KEY (run, id));
CREATE TABLE {s}log(
  run bigint NOT NULL, id bigint NOT NULL, at bigint NOT NULL, step text, attempt integer NOT NULL,
  level smallint NOT NULL, text text NOT NULL, PRIMARY KEY (run, id));
CREATE TABLE {s}progress(run bigint PRIMARY KEY, percent double precision, note text, at bigint NOT NULL);

-- Inputs that are durable but not yet decided. worker: who decides it; NULL: anybody.
CREATE TABLE {s}inbox(id bigint PRIMARY KEY, worker bigint, tries integer NOT NULL, body bytea NOT NULL);
CREATE INDEX inbox_worker ON {s}inbox(worker, id);

-- Rows come and go here: vacuumed by how many have gone, not by which share of the table.
ALTER TABLE {s}ready SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE {s}item SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE {s}timer SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE {s}wait SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE {s}inbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE {s}mark SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE {s}beat SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
