-- name: put_workers
INSERT INTO {s}worker(id, node, pid, host, app, state, started_at, concurrency) SELECT * FROM unnest({rows:iiittiii})
ON CONFLICT (id) DO UPDATE SET state = excluded.state, concurrency = excluded.concurrency;

-- name: load_workers
SELECT id, node, pid, host, app, state, started_at,
  coalesce((SELECT max(at) FROM {s}beat AS beat WHERE beat.worker = worker.id), started_at), concurrency
FROM {s}worker AS worker WHERE id = ANY ($1::bigint[]) ORDER BY id;

-- name: hold_workers
-- To change them: nobody may be in a batch as one of them meanwhile.
SELECT id FROM {s}worker WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: exist_workers
SELECT id FROM {s}worker WHERE id = ANY ($1::bigint[]);

-- name: list_workers
SELECT id, node, pid, host, app, state, started_at,
  coalesce((SELECT max(at) FROM {s}beat AS beat WHERE beat.worker = worker.id), started_at), concurrency
FROM {s}worker AS worker WHERE state = 1 ORDER BY id;

-- name: last_node
SELECT node FROM {s}worker ORDER BY id DESC LIMIT 1;

-- name: insert_beats
INSERT INTO {s}beat(worker, at) SELECT * FROM unnest({rows:ii}) ON CONFLICT DO NOTHING;

-- name: trim_beats
-- The latest one stays.
DELETE FROM {s}beat WHERE worker = $1 AND at < $2;

-- name: trim_workers
DELETE FROM {s}worker WHERE id IN (
  SELECT id FROM {s}worker AS worker
  WHERE state <> 1 AND started_at < $1
    AND NOT EXISTS (SELECT 1 FROM {s}item AS item WHERE item.worker = worker.id)
  FOR UPDATE OF worker SKIP LOCKED);

-- name: trim_beats_of_gone
DELETE FROM {s}beat AS beat WHERE NOT EXISTS (SELECT 1 FROM {s}worker AS worker WHERE worker.id = beat.worker);

-- name: hold_own_worker
-- As long as a batch of this worker lasts, nobody can declare it dead.
SELECT state FROM {s}worker WHERE id = $1 FOR KEY SHARE;

-- name: count_held_items
SELECT worker, count(*) FROM {s}item WHERE worker IS NOT NULL GROUP BY worker ORDER BY worker;

-- name: any_other_worker
SELECT 1 FROM {s}worker WHERE state = 1 AND NOT node = ANY ($1::bigint[]) LIMIT 1;

-- name: lock_joining
-- One process at a time looks for a free node.
SELECT pg_advisory_xact_lock($1::integer, 2147483647);

-- name: list_held_nodes
SELECT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid = $1::bigint::oid
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: snapshot
-- Differs as soon as anything at all has been committed.
SELECT hashtextextended(pg_current_snapshot()::text, 0);

-- name: server_age
SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8;
