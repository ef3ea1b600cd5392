-- name: insert_inbox
INSERT INTO {s}inbox(id, worker, tries, body) SELECT * FROM unnest({rows:iiib});

-- name: hold_inbox
SELECT id FROM {s}inbox WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: exist_inbox
SELECT id FROM {s}inbox WHERE id = ANY ($1::bigint[]);

-- name: hold_inbox_of
SELECT id FROM {s}inbox WHERE worker = $1 ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: count_inbox_of
SELECT count(*) FROM {s}inbox WHERE worker = $1;

-- name: delete_inbox
DELETE FROM {s}inbox WHERE id = ANY ($1::bigint[]);

-- name: move_inbox
UPDATE {s}inbox SET worker = $1 WHERE id = $2;

-- name: free_inbox
-- Whoever takes it over may be a better version: it is tried anew.
UPDATE {s}inbox SET worker = NULL, tries = 0 WHERE worker = $1;

-- name: count_try
UPDATE {s}inbox SET tries = tries + 1
WHERE id IN (SELECT id FROM {s}inbox WHERE id = $1 FOR UPDATE SKIP LOCKED) RETURNING tries;

-- name: list_inbox
-- What this worker, or anybody, has to decide and has not tried too often. No body is read for it.
(SELECT id, octet_length(body) FROM {s}inbox WHERE worker = $1 AND id > $2 AND tries < $3 ORDER BY id LIMIT $4)
UNION ALL
(SELECT id, octet_length(body) FROM {s}inbox WHERE worker IS NULL AND id > $2 AND tries < $3 ORDER BY id LIMIT $4)
ORDER BY id LIMIT $4;

-- name: load_follow_ups
SELECT id, body FROM {s}inbox WHERE id = ANY ($1::bigint[]) ORDER BY id;

-- name: oldest_inbox
SELECT id FROM {s}inbox ORDER BY id LIMIT 1;
