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
CREATE INDEX inbox_collapse ON inbox (application_id, user_id, collapse_key)
  WHERE collapse_key IS NOT NULL AND archived_at IS NULL;

-- What is not archived of each inbox, kept by the triggers below: an inbox is counted with every
-- connection, and may be long.
CREATE TABLE inbox_count (
  application_id INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  total INTEGER NOT NULL,
  unseen INTEGER NOT NULL,
  unread INTEGER NOT NULL,
  PRIMARY KEY (application_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER inbox_inserted AFTER INSERT ON inbox WHEN NEW.archived_at IS NULL BEGIN
  INSERT INTO inbox_count
    VALUES (NEW.application_id, NEW.user_id, 1, NEW.seen_at IS NULL, NEW.read_at IS NULL)
    ON CONFLICT DO UPDATE SET
      total = total + 1, unseen = unseen + excluded.unseen, unread = unread + excluded.unread;
END;
CREATE TRIGGER inbox_updated AFTER UPDATE OF seen_at, read_at, archived_at ON inbox BEGIN
  UPDATE inbox_count SET
    total = total - (OLD.archived_at IS NULL) + (NEW.archived_at IS NULL),
    unseen = unseen - (OLD.archived_at IS NULL AND OLD.seen_at IS NULL)
                    + (NEW.archived_at IS NULL AND NEW.seen_at IS NULL),
    unread = unread - (OLD.archived_at IS NULL AND OLD.read_at IS NULL)
                    + (NEW.archived_at IS NULL AND NEW.read_at IS NULL)
    WHERE application_id = NEW.application_id AND user_id = NEW.user_id;
END;
CREATE TRIGGER inbox_deleted AFTER DELETE ON inbox WHEN OLD.archived_at IS NULL BEGIN
  UPDATE inbox_count SET
    total = total - 1, unseen = unseen - (OLD.seen_at IS NULL), unread = unread - (OLD.read_at IS NULL)
    WHERE application_id = OLD.application_id AND user_id = OLD.user_id;
END;

-- How many items a mark changed, for whoever made it; only the latest are kept.
CREATE TABLE inbox_mark (
  seq INTEGER PRIMARY KEY,
  changed INTEGER NOT NULL
) STRICT;
