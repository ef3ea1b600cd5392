-- name: insert_events
INSERT INTO {s}event(id, name, data, at, key, "user", v) SELECT * FROM unnest({rows:itbitbt});

-- name: hold_events
-- Retention leaves alone what somebody is about to use.
SELECT id, name, data, at, key, "user", v FROM {s}event WHERE id = ANY ($1::bigint[]) ORDER BY id
FOR KEY SHARE SKIP LOCKED;

-- name: exist_events
SELECT id FROM {s}event WHERE id = ANY ($1::bigint[]);

-- name: load_events
SELECT id, name, data, at, key, "user", v FROM {s}event WHERE id = ANY ($1::bigint[]) ORDER BY id;

-- name: list_events
-- Newest first.
SELECT id, name, data, at, key, "user", v FROM {s}event WHERE id < $1 ORDER BY id DESC LIMIT $2;

-- name: list_events_named
-- Within a piece of the table: names have no index, which every event would pay for.
SELECT id, name, data, at, key, "user", v FROM {s}event
WHERE id < $1 AND id >= $2 AND name = $3 ORDER BY id DESC LIMIT $4;

-- name: find_event_behind
-- The one that so many events stand before, the newest first.
SELECT id FROM {s}event WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2;

-- name: load_dedup
SELECT dedup.scope, dedup.key, dedup.ref, dedup.expires_at
FROM unnest({rows:it}) AS v(scope, key) JOIN {s}dedup AS dedup ON dedup.scope = v.scope AND dedup.key = v.key;

-- name: find_key
-- What a key stands for; nothing once it has expired.
SELECT ref FROM {s}dedup WHERE scope = $1 AND key = $2 AND expires_at > $3;

-- name: put_dedup
-- The one insert that may wait for somebody else, who has just given the same key; in one order, so that two never
-- wait for one another. No row back: it is taken, and who has it was not seen when this was decided.
INSERT INTO {s}dedup AS dedup(scope, key, ref, expires_at)
SELECT * FROM unnest({rows:itii}) AS v(scope, key, ref, expires_at) ORDER BY v.scope, v.key COLLATE "C"
ON CONFLICT (scope, key) DO UPDATE SET ref = excluded.ref, expires_at = excluded.expires_at
WHERE dedup.ref = excluded.ref OR dedup.expires_at <= $5
RETURNING 1;

-- name: trim_dedup
-- A few at a time: retention never holds the writer for long. Those that expire with the 1,000th go too.
DELETE FROM {s}dedup WHERE (scope, key) IN (
  SELECT scope, key FROM {s}dedup
  WHERE expires_at < $1 AND expires_at <= coalesce(
    (SELECT expires_at FROM {s}dedup ORDER BY expires_at LIMIT 1 OFFSET 999), 9223372036854775807)
  FOR UPDATE SKIP LOCKED);

-- name: first_expired_dedup
SELECT expires_at FROM {s}dedup WHERE expires_at < $1 ORDER BY expires_at LIMIT 1;

-- name: list_expired_events
-- Events of runs that have not ended are kept, however old.
SELECT id FROM {s}event AS event
WHERE id > $1 AND id < $2
  AND NOT EXISTS (
    SELECT 1 FROM {s}run AS run JOIN {s}item AS item ON item.run = run.id WHERE run.event = event.id)
ORDER BY id LIMIT $3;

-- name: delete_events
-- Looked at again: since it was listed, the failure handler of its run may have been started.
DELETE FROM {s}event WHERE id IN (
  SELECT id FROM {s}event AS event
  WHERE id = ANY ($1::bigint[])
    AND NOT EXISTS (
      SELECT 1 FROM {s}run AS run JOIN {s}item AS item ON item.run = run.id WHERE run.event = event.id)
  FOR UPDATE OF event SKIP LOCKED);
