-- name: load_meta
SELECT value FROM meta WHERE name = ? ORDER BY name;

-- name: put_last_wait
UPDATE meta SET value = ? WHERE name = 'last_wait';

-- name: bump_config_version
UPDATE meta SET value = value + 1 WHERE name = 'config_version';

-- name: list_functions
SELECT id, app, config, retired FROM function ORDER BY id;

-- name: put_functions
INSERT INTO function(id, app, slug, config, retired) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET config = excluded.config, retired = excluded.retired;

-- name: list_shapes
SELECT id, event, paths FROM shape ORDER BY id;

-- name: put_shapes
INSERT INTO shape(id, event, paths) VALUES (?, ?, ?);
