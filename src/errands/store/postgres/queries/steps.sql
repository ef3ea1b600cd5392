-- name: insert_steps
-- Unique on run and id: what is memoized once is never overwritten.
INSERT INTO {s}step(run, id, kind, status, seq, attempt, main, started_at, at, due, match, output)
SELECT * FROM unnest({rows:itiiiiiiiiib});

-- name: update_steps
UPDATE {s}step AS step SET status = v.status, seq = v.seq, attempt = v.attempt, started_at = v.started_at, at = v.at,
  due = v.due, output = v.output
FROM unnest({rows:itiiiiiib}) AS v(run, id, status, seq, attempt, started_at, at, due, output)
WHERE step.run = v.run AND step.id = v.id;

-- name: load_steps
SELECT step.run, step.id, step.kind, step.status, step.seq, step.attempt, step.main, step.started_at, step.at,
  step.due, step.match, step.output
FROM unnest({rows:it}) AS v(run, id) JOIN {s}step AS step ON step.run = v.run AND step.id = v.id;

-- name: load_unseen_steps
SELECT run, id, kind, status, seq, attempt, main, started_at, at, due, match, output FROM {s}step
WHERE run = ANY ($1::bigint[]) AND seq IS NULL ORDER BY run, id;

-- name: list_steps
SELECT run, id, kind, status, seq, attempt, main, started_at, at, due, match, output FROM {s}step
WHERE run = $1 ORDER BY started_at, id;

-- name: load_memo
-- What a session has not seen yet: from its next number on, and what has none.
SELECT run, id, kind, status, seq, attempt, main, started_at, at, due, match, output FROM {s}step
WHERE run = $1 AND (seq >= $2 OR seq IS NULL) ORDER BY seq NULLS LAST, at, id;
