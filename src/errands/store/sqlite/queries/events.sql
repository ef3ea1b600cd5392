-- name: insert_events
INSERT INTO event(id, name, data, at, key, user, v) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: load_events
SELECT id, name, data, at, key, user, v FROM event
WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id;

-- name: list_events
-- Newest first.
SELECT id, name, data, at, key, user, v FROM event WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: list_events_named
-- Within a piece of the table: names have no index, which every event would pay for.
SELECT id, name, data, at, key, user, v FROM event
WHERE id < :before AND id >= :first AND name = :name ORDER BY id DESC LIMIT :limit;

-- name: find_event_behind
-- The one that so many events stand before, the newest first.
SELECT id FROM event WHERE id < :before ORDER BY id DESC LIMIT 1 OFFSET :skipped;

-- name: load_dedup
-- A join: for (scope, key) IN … SQLite looks up by the number only, and reads every key of the scope.
SELECT dedup.scope, dedup.key, dedup.ref, dedup.expires_at
FROM (VALUES (?, ?)) AS v CROSS JOIN dedup ON dedup.scope = v.column1 AND dedup.key = v.column2
ORDER BY dedup.scope, dedup.key;

-- name: find_key
-- What a key stands for; nothing once it has expired.
SELECT ref FROM dedup WHERE scope = ? AND key = ? AND expires_at > ? ORDER BY scope, key;

-- name: put_dedup
INSERT INTO dedup(scope, key, ref, expires_at) VALUES (?, ?, ?, ?)
ON CONFLICT (scope, key) DO UPDATE SET ref = excluded.ref, expires_at = excluded.expires_at;

-- name: trim_dedup
-- A few at a time: retention never holds the writer for long. Those that expire with the 1,000th go too.
DELETE FROM dedup WHERE expires_at <= min(? - 1, coalesce(
  (SELECT expires_at FROM dedup ORDER BY expires_at LIMIT 1 OFFSET 999), 9223372036854775807));

-- name: first_expired_dedup
SELECT expires_at FROM dedup WHERE expires_at < ? ORDER BY expires_at LIMIT 1;

-- name: list_expired_events
-- Events of runs that have not ended are kept, however old.
SELECT id FROM event
WHERE id > :after AND id < :before
  AND NOT EXISTS (SELECT 1 FROM run JOIN item ON item.run = run.id WHERE run.event = event.id)
ORDER BY id LIMIT :limit;

-- name: delete_events
-- Looked at again: since it was listed, the failure handler of its run may have been started.
DELETE FROM event WHERE id IN (SELECT value FROM json_each(?))
  AND NOT EXISTS (SELECT 1 FROM run JOIN item ON item.run = run.id WHERE run.event = event.id);
