-- name: insert_steps
-- Unique on run and id: what is memoized once is never overwritten.
INSERT INTO step(run, id, kind, status, seq, attempt, main, started_at, at, due, match, output)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_steps
UPDATE step SET status = v.column3, seq = v.column4, attempt = v.column5, started_at = v.column6, at = v.column7,
  due = v.column8, output = v.column9
FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)) AS v WHERE step.run = v.column1 AND step.id = v.column2;

-- name: load_steps
-- A join: for (run, id) IN … SQLite looks up by the number only, and reads every step of the run.
SELECT step.run, step.id, step.kind, step.status, step.seq, step.attempt, step.main, step.started_at, step.at,
  step.due, step.match, step.output
FROM (VALUES (?, ?)) AS v CROSS JOIN step ON step.run = v.column1 AND step.id = v.column2
ORDER BY step.run, step.id;

-- name: load_unseen_steps
SELECT run, id, kind, status, seq, attempt, main, started_at, at, due, match, output FROM step
WHERE run IN (SELECT value FROM json_each(?)) AND seq IS NULL ORDER BY run, id;

-- name: list_steps
SELECT run, id, kind, status, seq, attempt, main, started_at, at, due, match, output FROM step
WHERE run = ? ORDER BY started_at, id;

-- name: load_memo
-- What a session has not seen yet: from its next number on, and what has none.
SELECT run, id, kind, status, seq, attempt, main, started_at, at, due, match, output FROM step
WHERE run = ? AND (seq >= ? OR seq IS NULL) ORDER BY seq IS NULL, seq, at, id;
