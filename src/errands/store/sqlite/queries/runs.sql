-- name: insert_runs
INSERT INTO run(id, function, event, input, parent, parent_step, retries, trace) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: load_runs
SELECT id, function, event, input, parent, parent_step, retries, trace FROM run
WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id;

-- name: insert_done
INSERT INTO done(run, function, status, at, keep_until, output, attempt, started_at, worker)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: load_done
SELECT run, function, status, at, keep_until, output, attempt, started_at, worker FROM done
WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run;

-- name: insert_labels
INSERT OR IGNORE INTO label(label, run) VALUES (?, ?);

-- name: list_labels
SELECT label, run FROM label WHERE run = ? ORDER BY label;

-- name: insert_history
INSERT INTO history(run, id, at, moment, data) VALUES (?, ?, ?, ?, ?);

-- name: list_history
SELECT run, id, at, moment, data FROM history WHERE run = ? ORDER BY id;

-- name: insert_logs
INSERT INTO log(run, id, at, step, attempt, level, text) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: list_logs
SELECT run, id, at, step, attempt, level, text FROM log WHERE run = ? AND id > ? ORDER BY id LIMIT ?;

-- name: put_progress
INSERT INTO progress(run, percent, note, at) VALUES (?, ?, ?, ?)
ON CONFLICT (run) DO UPDATE SET percent = excluded.percent, note = excluded.note, at = excluded.at;

-- name: load_progress
SELECT run, percent, note, at FROM progress WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run;

-- name: list_runs
-- Newest first. Without a filter each is NULL. The input of an external job (function 0) tells its own id.
SELECT run.id, run.function, run.event, run.parent,
  item.place, item.updated_at, item.started_at, coalesce(item.attempt, done.attempt), item.due,
  done.status, done.at, done.started_at, done.output, progress.percent, progress.note, progress.at,
  CASE WHEN run.function = 0 THEN run.input END
FROM run
LEFT JOIN item ON item.run = run.id
LEFT JOIN done ON done.run = run.id
LEFT JOIN progress ON progress.run = run.id
WHERE {filters}
ORDER BY run.id DESC LIMIT :limit;

-- name: load_stamps
-- What a run's owner would see change, for many runs that somebody waits for.
SELECT run.id, item.place, item.updated_at, item.started_at, done.status, progress.percent, progress.note
FROM run
LEFT JOIN item ON item.run = run.id
LEFT JOIN done ON done.run = run.id
LEFT JOIN progress ON progress.run = run.id
WHERE run.id IN (SELECT value FROM json_each(?)) ORDER BY run.id;

-- name: load_ended
SELECT run FROM done WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run;

-- name: list_expired_runs
-- Not those that a run which has not ended was started by: its failure handler asks what it was given.
SELECT run FROM done
WHERE run < :before AND keep_until <= :now
  AND NOT EXISTS (SELECT 1 FROM run AS child JOIN item ON item.run = child.id WHERE child.parent = done.run)
ORDER BY run LIMIT :limit;

-- name: list_expired_jobs
-- External jobs: each says itself how long it is kept.
SELECT run FROM done WHERE function = 0 AND keep_until <= :now ORDER BY keep_until LIMIT :limit;

-- name: load_disposable
-- Looked at again: since they were listed, somebody may have been started by one.
SELECT run FROM done
WHERE run IN (SELECT value FROM json_each(?))
  AND NOT EXISTS (SELECT 1 FROM run AS child JOIN item ON item.run = child.id WHERE child.parent = done.run)
ORDER BY run;

-- name: delete_runs
DELETE FROM run WHERE id IN (SELECT value FROM json_each(?));

-- name: delete_done
DELETE FROM done WHERE run IN (SELECT value FROM json_each(?));

-- name: delete_steps
DELETE FROM step WHERE (run, id) IN (
  SELECT run, id FROM step WHERE run IN (SELECT value FROM json_each(?)) LIMIT ?);

-- name: delete_history
DELETE FROM history WHERE (run, id) IN (
  SELECT run, id FROM history WHERE run IN (SELECT value FROM json_each(?)) LIMIT ?);

-- name: delete_logs
DELETE FROM log WHERE (run, id) IN (
  SELECT run, id FROM log WHERE run IN (SELECT value FROM json_each(?)) LIMIT ?);

-- name: delete_progress
DELETE FROM progress WHERE run IN (SELECT value FROM json_each(?));

-- name: delete_labels
DELETE FROM label WHERE run IN (SELECT value FROM json_each(?));
