-- name: insert_inbox
INSERT INTO inbox(id, worker, tries, body) VALUES (?, ?, ?, ?);

-- name: load_inbox
SELECT id FROM inbox WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id;

-- name: delete_inbox
DELETE FROM inbox WHERE id IN (SELECT value FROM json_each(?));

-- name: move_inbox
UPDATE inbox SET worker = ? WHERE id = ?;

-- name: free_inbox
UPDATE inbox SET worker = NULL WHERE worker = ?;

-- name: count_try
UPDATE inbox SET tries = tries + 1 WHERE id = ? RETURNING tries;

-- name: list_inbox
-- What this worker, or anybody, has to decide.
SELECT id, body FROM inbox WHERE worker = :worker AND id > :after
UNION ALL
SELECT id, body FROM inbox WHERE worker IS NULL
ORDER BY id LIMIT :limit;

-- name: oldest_inbox
SELECT id FROM inbox ORDER BY id LIMIT 1;
