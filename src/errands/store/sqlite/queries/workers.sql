-- name: put_workers
INSERT INTO worker(id, node, pid, host, app, state, started_at, concurrency) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, concurrency = excluded.concurrency;

-- name: load_workers
SELECT id, node, pid, host, app, state, started_at,
  coalesce((SELECT max(at) FROM beat WHERE beat.worker = worker.id), started_at), concurrency
FROM worker WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id;

-- name: list_workers
SELECT id, node, pid, host, app, state, started_at,
  coalesce((SELECT max(at) FROM beat WHERE beat.worker = worker.id), started_at), concurrency
FROM worker WHERE state = 1 ORDER BY id;

-- name: insert_beats
INSERT OR IGNORE INTO beat(worker, at) VALUES (?, ?);

-- name: trim_beats
-- The latest one stays.
DELETE FROM beat WHERE worker = ? AND at < ?;

-- name: trim_workers
DELETE FROM worker WHERE state <> 1 AND started_at < ? AND id NOT IN (SELECT worker FROM item WHERE worker IS NOT NULL);

-- name: trim_beats_of_gone
DELETE FROM beat WHERE worker NOT IN (SELECT id FROM worker);

-- name: load_worker_state
SELECT state FROM worker WHERE id = ? ORDER BY id;

-- name: count_held_items
SELECT worker, count(*) FROM item WHERE worker IS NOT NULL GROUP BY worker ORDER BY worker;
