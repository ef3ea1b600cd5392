-- name: insert_waits
INSERT INTO wait(match, run, step, number, condition, context) VALUES (?, ?, ?, ?, ?, ?);

-- name: delete_waits
DELETE FROM wait WHERE (match, run, step) IN (SELECT column1, column2, column3 FROM (VALUES (?, ?, ?)));

-- name: load_waits
-- A page of those that wait under one key, after a position.
SELECT match, run, step, number, condition, context FROM wait
WHERE match = :match AND (run, step) > (:run, :step) ORDER BY run, step LIMIT :limit;

-- name: insert_timers
-- A timer that is re-armed for the same moment is one timer.
INSERT OR IGNORE INTO timer(due, run, kind, step) VALUES (?, ?, ?, ?);

-- name: delete_timers
DELETE FROM timer
WHERE (due, run, kind, step) IN (SELECT column1, column2, column3, column4 FROM (VALUES (?, ?, ?, ?)));

-- name: list_due_timers
SELECT due, run, kind, step FROM timer WHERE due <= ? ORDER BY due, run, kind, step LIMIT ?;

-- name: next_timer
SELECT due FROM timer ORDER BY due LIMIT 1;
