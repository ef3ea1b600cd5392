-- name: insert_waits
INSERT INTO {s}wait(match, run, step, number, condition, context) SELECT * FROM unnest({rows:iititb});

-- name: delete_waits
DELETE FROM {s}wait AS wait USING unnest({rows:iit}) AS v(match, run, step)
WHERE wait.match = v.match AND wait.run = v.run AND wait.step = v.step;

-- name: load_waits
-- A page of those that wait under one key, after a position.
SELECT match, run, step, number, condition, context FROM {s}wait
WHERE match = $1 AND (run, step) > ($2, $3) ORDER BY run, step LIMIT $4;

-- name: insert_timers
-- A timer that is re-armed for the same moment is one timer.
INSERT INTO {s}timer(due, run, kind, step) SELECT * FROM unnest({rows:iiit}) ON CONFLICT DO NOTHING;

-- name: delete_timers
-- Timers of a run that has ended may be forgotten by several at once.
DELETE FROM {s}timer WHERE (due, run, kind, step) IN (
  SELECT timer.due, timer.run, timer.kind, timer.step
  FROM unnest({rows:iiit}) AS v(due, run, kind, step) JOIN {s}timer AS timer
    ON timer.due = v.due AND timer.run = v.run AND timer.kind = v.kind AND timer.step = v.step
  FOR UPDATE OF timer SKIP LOCKED);

-- name: list_due_timers
SELECT due, run, kind, step FROM {s}timer WHERE due <= $1 ORDER BY due, run, kind, step LIMIT $2;

-- name: next_timer
SELECT due FROM {s}timer ORDER BY due LIMIT 1;
