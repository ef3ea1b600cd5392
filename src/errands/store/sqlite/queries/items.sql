-- name: insert_items
INSERT INTO item(run, function, place, updated_at, fence, attempt, crashes, seq, position, due, worker, leased_at,
  started_at, start_by, finish_by, parent, parent_step)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_items
UPDATE item SET place = v.column2, updated_at = v.column3, fence = v.column4, attempt = v.column5,
  crashes = v.column6, seq = v.column7, position = v.column8, due = v.column9, worker = v.column10,
  leased_at = v.column11, started_at = v.column12, finish_by = v.column13
FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) AS v WHERE item.run = v.column1;

-- name: delete_items
DELETE FROM item WHERE run IN (SELECT value FROM json_each(?));

-- name: load_items
SELECT run, function, place, updated_at, fence, attempt, crashes, seq, position, due, worker, leased_at,
  started_at, start_by, finish_by, parent, parent_step
FROM item WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run;

-- name: load_held_items
SELECT run, function, place, updated_at, fence, attempt, crashes, seq, position, due, worker, leased_at,
  started_at, start_by, finish_by, parent, parent_step
FROM item WHERE worker = ? ORDER BY run;

-- name: insert_ready
INSERT INTO ready(lane, class, position, run) VALUES (?, ?, ?, ?);

-- name: delete_ready
-- SELECT … FROM (VALUES …): for VALUES alone, of several rows, SQLite scans the whole table.
DELETE FROM ready WHERE (lane, class, position) IN (SELECT column1, column2, column3 FROM (VALUES (?, ?, ?)));

-- name: load_busy_lane
-- Is anybody ready in this lane? The most urgent class.
SELECT class FROM ready WHERE lane = ? ORDER BY class LIMIT 1;

-- name: load_lanes
-- The lanes in which somebody is ready: one step in the index for each, however many stand in it.
WITH RECURSIVE lanes(lane) AS (
  SELECT min(lane) FROM ready
  UNION ALL
  SELECT (SELECT min(lane) FROM ready WHERE lane > lanes.lane) FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT lane FROM lanes WHERE lane IS NOT NULL ORDER BY lane;

-- name: claim_items
-- The head of one lane and class. CROSS JOIN: walk ready in its order, look each item up.
SELECT item.run, item.function, item.place, item.updated_at, item.fence, item.attempt, item.crashes, item.seq,
  item.position, item.due, item.worker, item.leased_at, item.started_at, item.start_by, item.finish_by,
  item.parent, item.parent_step
FROM ready CROSS JOIN item ON item.run = ready.run
WHERE ready.lane = :lane AND ready.class = :class ORDER BY ready.position LIMIT :limit;

-- name: count_ready
-- How many stand in each lane, and the position of the one that came first.
SELECT lane, count(*), min(position) FROM ready GROUP BY lane ORDER BY lane;
