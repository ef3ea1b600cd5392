-- name: insert_events
INSERT INTO event(id, name, data, at, key, user, v) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: load_events
SELECT id, name, data, at, key, user, v FROM event
WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id;

-- name: load_dedup
SELECT dedup.scope, dedup.key, dedup.ref, dedup.expires_at FROM dedup
WHERE (scope, key) IN (VALUES (?, ?)) ORDER BY scope, key;

-- name: put_dedup
INSERT INTO dedup(scope, key, ref, expires_at) VALUES (?, ?, ?, ?)
ON CONFLICT (scope, key) DO UPDATE SET ref = excluded.ref, expires_at = excluded.expires_at;

-- name: trim_dedup
-- A few at a time: retention never holds the writer for long.
DELETE FROM dedup WHERE (scope, key) IN (
  SELECT scope, key FROM dedup WHERE expires_at < ? ORDER BY expires_at LIMIT 1000);

-- name: list_expired_events
-- Events of runs that have not ended are kept, however old.
SELECT id FROM event
WHERE id > :after AND id < :before
  AND NOT EXISTS (SELECT 1 FROM run JOIN item ON item.run = run.id WHERE run.event = event.id)
ORDER BY id LIMIT :limit;

-- name: delete_events
DELETE FROM event WHERE id IN (SELECT value FROM json_each(?));
