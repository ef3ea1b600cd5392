-- name: insert_inbox
INSERT INTO inbox(id, worker, tries, body) VALUES (?, ?, ?, ?);

-- name: load_inbox
SELECT id FROM inbox WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id;

-- name: delete_inbox
DELETE FROM inbox WHERE id IN (SELECT value FROM json_each(?));

-- name: move_inbox
UPDATE inbox SET worker = ? WHERE id = ?;

-- name: free_inbox
-- Whoever takes it over may be a better version: it is tried anew.
UPDATE inbox SET worker = NULL, tries = 0 WHERE worker = ?;

-- name: count_try
UPDATE inbox SET tries = tries + 1 WHERE id = ? RETURNING tries;

-- name: list_inbox
-- What this worker, or anybody, has to decide and has not tried too often. No body is read for it.
SELECT id, length(body) FROM inbox WHERE worker = :worker AND id > :after AND tries < :tries
UNION ALL
SELECT id, length(body) FROM inbox WHERE worker IS NULL AND id > :after AND tries < :tries
ORDER BY id LIMIT :limit;

-- name: load_follow_ups
SELECT id, body FROM inbox WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id;

-- name: oldest_inbox
SELECT id FROM inbox ORDER BY id LIMIT 1;
