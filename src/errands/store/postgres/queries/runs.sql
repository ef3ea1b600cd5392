-- name: insert_runs
INSERT INTO {s}run(id, function, event, input, parent, parent_step, retries, trace)
SELECT * FROM unnest({rows:iiibitbt});

-- name: load_runs
SELECT id, function, event, input, parent, parent_step, retries, trace FROM {s}run
WHERE id = ANY ($1::bigint[]) ORDER BY id;

-- name: hold_runs
-- Of runs without an item, whose row is locked instead.
SELECT id FROM {s}run WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: exist_runs
SELECT id FROM {s}run WHERE id = ANY ($1::bigint[]);

-- name: insert_done
INSERT INTO {s}done(run, function, status, at, keep_until, output, attempt, started_at, worker)
SELECT * FROM unnest({rows:iiiiibiii});

-- name: load_done
SELECT run, function, status, at, keep_until, output, attempt, started_at, worker FROM {s}done
WHERE run = ANY ($1::bigint[]) ORDER BY run;

-- name: insert_labels
INSERT INTO {s}label(label, run) SELECT * FROM unnest({rows:ti}) ON CONFLICT DO NOTHING;

-- name: list_labels
SELECT label, run FROM {s}label WHERE run = $1 ORDER BY label;

-- name: insert_history
INSERT INTO {s}history(run, id, at, moment, data) SELECT * FROM unnest({rows:iiiib});

-- name: list_history
SELECT run, id, at, moment, data FROM {s}history WHERE run = $1 ORDER BY id;

-- name: insert_logs
INSERT INTO {s}log(run, id, at, step, attempt, level, text) SELECT * FROM unnest({rows:iiitiit});

-- name: list_logs
SELECT run, id, at, step, attempt, level, text FROM {s}log WHERE run = $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: put_progress
INSERT INTO {s}progress(run, percent, note, at) SELECT * FROM unnest({rows:ifti})
ON CONFLICT (run) DO UPDATE SET percent = excluded.percent, note = excluded.note, at = excluded.at;

-- name: load_progress
SELECT run, percent, note, at FROM {s}progress WHERE run = ANY ($1::bigint[]) ORDER BY run;

-- name: list_runs
-- Newest first. The input of an external job (function 0) tells its own id.
SELECT run.id, run.function, run.event, run.parent,
  item.place, item.updated_at, item.started_at, coalesce(item.attempt, done.attempt), item.due,
  done.status, done.at, done.started_at, done.output, progress.percent, progress.note, progress.at,
  CASE WHEN run.function = 0 THEN run.input END
FROM {s}run AS run
LEFT JOIN {s}item AS item ON item.run = run.id
LEFT JOIN {s}done AS done ON done.run = run.id
LEFT JOIN {s}progress AS progress ON progress.run = run.id
WHERE {filters}
ORDER BY run.id DESC LIMIT {limit};

-- name: load_stamps
-- What a run's owner would see change, for many runs that somebody waits for.
SELECT run.id, item.place, item.updated_at, item.started_at, done.status, progress.percent, progress.note
FROM {s}run AS run
LEFT JOIN {s}item AS item ON item.run = run.id
LEFT JOIN {s}done AS done ON done.run = run.id
LEFT JOIN {s}progress AS progress ON progress.run = run.id
WHERE run.id = ANY ($1::bigint[]) ORDER BY run.id;

-- name: load_ended
SELECT run FROM {s}done WHERE run = ANY ($1::bigint[]) ORDER BY run;

-- name: list_expired_runs
-- Not those that a run which has not ended was started by: its failure handler asks what it was given.
SELECT run FROM {s}done AS done
WHERE run < $1 AND keep_until <= $2
  AND NOT EXISTS (
    SELECT 1 FROM {s}run AS child JOIN {s}item AS item ON item.run = child.id WHERE child.parent = done.run)
ORDER BY run LIMIT $3;

-- name: list_expired_jobs
-- External jobs: each says itself how long it is kept.
SELECT run FROM {s}done WHERE function = 0 AND keep_until <= $1 ORDER BY keep_until LIMIT $2;

-- name: hold_disposable
-- Looked at again: since they were listed, somebody may have been started by one. What another process is trimming,
-- or is about to repeat, is left alone.
SELECT done.run FROM {s}done AS done
WHERE done.run = ANY ($1::bigint[])
  AND NOT EXISTS (
    SELECT 1 FROM {s}run AS child JOIN {s}item AS item ON item.run = child.id WHERE child.parent = done.run)
ORDER BY done.run FOR UPDATE OF done SKIP LOCKED;

-- name: delete_runs
DELETE FROM {s}run WHERE id = ANY ($1::bigint[]);

-- name: delete_done
DELETE FROM {s}done WHERE run = ANY ($1::bigint[]);

-- name: delete_steps
DELETE FROM {s}step WHERE (run, id) IN (SELECT run, id FROM {s}step WHERE run = ANY ($1::bigint[]) LIMIT $2);

-- name: delete_history
DELETE FROM {s}history WHERE (run, id) IN (SELECT run, id FROM {s}history WHERE run = ANY ($1::bigint[]) LIMIT $2);

-- name: delete_logs
DELETE FROM {s}log WHERE (run, id) IN (SELECT run, id FROM {s}log WHERE run = ANY ($1::bigint[]) LIMIT $2);

-- name: delete_progress
DELETE FROM {s}progress WHERE run = ANY ($1::bigint[]);

-- name: delete_labels
DELETE FROM {s}label WHERE run = ANY ($1::bigint[]);
