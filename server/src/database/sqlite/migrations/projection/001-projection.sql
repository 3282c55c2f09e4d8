-- Read side of the hot file, filled behind it in groups and rebuildable from it at any time.

CREATE TABLE position (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE message_index (
  id INTEGER PRIMARY KEY,
  notification_id INTEGER NOT NULL,
  application_id INTEGER NOT NULL,
  status INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  test INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  channel TEXT,
  user_id TEXT,
  recipient TEXT,
  template TEXT,
  category TEXT,
  batch TEXT,
  reason TEXT
) STRICT;

-- In random order, but behind the hot path and written in sorted groups.
CREATE INDEX message_index_user ON message_index (application_id, user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX message_index_batch ON message_index (application_id, batch, id) WHERE batch IS NOT NULL;
CREATE INDEX message_index_template ON message_index (application_id, template, id) WHERE template IS NOT NULL;
-- What is rare and asked for: everything that did not simply arrive.
CREATE INDEX message_index_status ON message_index (application_id, status, id) WHERE status <> 4;
CREATE INDEX message_index_application ON message_index (application_id, id);

CREATE TABLE inbox (
  message_id INTEGER PRIMARY KEY,
  application_id INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  content TEXT NOT NULL,
  category TEXT,
  collapse_key TEXT,
  created_at INTEGER NOT NULL,
  seen_at INTEGER,
  read_at INTEGER,
  archived_at INTEGER
) STRICT;
CREATE INDEX inbox_user ON inbox (application_id, user_id, position);
