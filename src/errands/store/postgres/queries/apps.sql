-- name: load_config_version
SELECT number FROM {s}meta WHERE name = 'config_version';

-- name: hold_config
-- Whoever changes what is registered holds this row from before it reads until its commit.
SELECT number FROM {s}meta WHERE name = 'config_version' FOR UPDATE SKIP LOCKED;

-- name: bump_config_version
UPDATE {s}meta SET number = number + 1 WHERE name = 'config_version';

-- name: load_key
SELECT secret FROM {s}meta WHERE name = 'key';

-- name: list_functions
SELECT id, app, config, retired FROM {s}function ORDER BY id;

-- name: put_functions
INSERT INTO {s}function(id, app, slug, config, retired) SELECT * FROM unnest({rows:ittbi})
ON CONFLICT (id) DO UPDATE SET config = excluded.config, retired = excluded.retired;

-- name: list_shapes
SELECT id, event, paths FROM {s}shape ORDER BY id;

-- name: put_shapes
INSERT INTO {s}shape(id, event, paths) SELECT * FROM unnest({rows:itb});

-- name: insert_mark
INSERT INTO {s}mark(process, batch) VALUES ($1, $2);

-- name: void_mark
-- If the batch is still being committed, this waits for its end.
INSERT INTO {s}mark(process, batch, is_void) VALUES ($1, $2, true) ON CONFLICT DO NOTHING;

-- name: load_mark
SELECT is_void FROM {s}mark WHERE process = $1 AND batch = $2;

-- name: trim_own_marks
DELETE FROM {s}mark WHERE process = $1 AND batch < $2;

-- name: trim_marks
DELETE FROM {s}mark WHERE (process, batch) IN (
  SELECT process, batch FROM {s}mark WHERE at < now() - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED);

-- name: last_wait
SELECT last_value FROM {s}wait_number;

-- name: draw_wait_numbers
SELECT nextval('{s}wait_number') FROM generate_series(1, $1);

-- name: set_wait_number
SELECT setval('{s}wait_number', $1);

-- name: own_session
SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid();

-- name: end_session
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2;

-- name: size
SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint, version()
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relkind = 'r' AND nspname = $1;
