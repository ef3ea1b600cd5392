-- name: insert_items
INSERT INTO {s}item(run, function, place, updated_at, fence, attempt, crashes, seq, position, due, worker, leased_at,
  started_at, start_by, finish_by, parent, parent_step)
SELECT * FROM unnest({rows:iiiiiiiiiiiiiiiit});

-- name: update_items
UPDATE {s}item AS item SET place = v.place, updated_at = v.updated_at, fence = v.fence, attempt = v.attempt,
  crashes = v.crashes, seq = v.seq, position = v.position, due = v.due, worker = v.worker, leased_at = v.leased_at,
  started_at = v.started_at, finish_by = v.finish_by
FROM unnest({rows:iiiiiiiiiiiii})
  AS v(run, place, updated_at, fence, attempt, crashes, seq, position, due, worker, leased_at, started_at, finish_by)
WHERE item.run = v.run;

-- name: delete_items
DELETE FROM {s}item WHERE run = ANY ($1::bigint[]);

-- name: hold_items
SELECT run, function, place, updated_at, fence, attempt, crashes, seq, position, due, worker, leased_at,
  started_at, start_by, finish_by, parent, parent_step
FROM {s}item WHERE run = ANY ($1::bigint[]) ORDER BY run FOR UPDATE SKIP LOCKED;

-- name: exist_items
SELECT run FROM {s}item WHERE run = ANY ($1::bigint[]);

-- name: hold_items_of
SELECT run, function, place, updated_at, fence, attempt, crashes, seq, position, due, worker, leased_at,
  started_at, start_by, finish_by, parent, parent_step
FROM {s}item WHERE worker = $1 ORDER BY run FOR UPDATE SKIP LOCKED;

-- name: count_items_of
SELECT count(*) FROM {s}item WHERE worker = $1;

-- name: insert_ready
INSERT INTO {s}ready(lane, class, position, run) SELECT * FROM unnest({rows:iiii});

-- name: delete_ready
DELETE FROM {s}ready AS ready USING unnest({rows:iii}) AS v(lane, class, position)
WHERE ready.lane = v.lane AND ready.class = v.class AND ready.position = v.position;

-- name: list_heads
-- In which of these lanes and classes is anybody ready, from this position on? The first one's position.
SELECT v.lane, v.class, first.position FROM unnest({rows:iii}) AS v(lane, class, after)
CROSS JOIN LATERAL (
  SELECT position FROM {s}ready AS ready
  WHERE ready.lane = v.lane AND ready.class = v.class AND ready.position >= v.after
  ORDER BY position LIMIT 1
) AS first ORDER BY v.lane, v.class;

-- name: claim_items
-- The first ones, from this position on, that nobody else is about to take. The item's row is asked again under its
-- lock: it may have been taken since.
SELECT found.* FROM unnest({rows:iiii}) WITH ORDINALITY AS v(lane, class, after, most, n)
CROSS JOIN LATERAL (
  SELECT item.run, item.function, item.place, item.updated_at, item.fence, item.attempt, item.crashes, item.seq,
    item.position, item.due, item.worker, item.leased_at, item.started_at, item.start_by, item.finish_by,
    item.parent, item.parent_step
  FROM {s}ready AS ready JOIN {s}item AS item ON item.run = ready.run
  WHERE ready.lane = v.lane AND ready.class = v.class AND ready.position >= v.after
    AND item.place = 1 AND item.position = ready.position
  ORDER BY ready.position LIMIT v.most FOR UPDATE OF item SKIP LOCKED
) AS found ORDER BY v.n, found.position;

-- name: count_ready
-- How many stand in each lane, and the position of the one that came first.
SELECT lane, count(*), min(position) FROM {s}ready GROUP BY lane ORDER BY lane;
