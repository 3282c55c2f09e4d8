-- The hot file. Every table is appended to in the order of its integer key; no index is in
-- random order. Look-ups by user, filters and the inbox live in the projection file.

-- What was asked, unchanged afterwards (except by an edit while it is still scheduled).
-- Its messages have the ids right after its own: id + 1, id + 2, …
CREATE TABLE notification (
  id INTEGER PRIMARY KEY,
  application_id INTEGER NOT NULL,
  message_count INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;

-- The state of one message, kept apart from the content so that a page holds many.
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  notification_id INTEGER NOT NULL,
  application_id INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  status INTEGER NOT NULL,
  next_at INTEGER,
  updated_at INTEGER NOT NULL,
  claim INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0,
  attempts_before INTEGER NOT NULL DEFAULT 0,
  step INTEGER NOT NULL DEFAULT 0,
  channel TEXT,
  provider TEXT,
  provider_message_id TEXT,
  reason TEXT,
  route TEXT
) STRICT;

-- Time-ordered like the table itself: an entry is added at one end and removed near the other.
CREATE INDEX message_pending ON message (lane, next_at) WHERE next_at IS NOT NULL;

CREATE TABLE event (
  seq INTEGER PRIMARY KEY,
  message_id INTEGER NOT NULL,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  detail TEXT
) STRICT;

CREATE INDEX event_message ON event (message_id);

CREATE TABLE idempotency (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  key_digest TEXT NOT NULL,
  request_digest TEXT NOT NULL,
  notification_id INTEGER NOT NULL
) STRICT;

-- Everything that happens to in-app inboxes, in order: `item` adds one and has its message id and
-- its content as detail, `removed` takes it away; the others are marks, with the ids they are about
-- as detail or none for all. The greatest seq is never deleted, so that none is given out twice.
CREATE TABLE inbox_log (
  seq INTEGER PRIMARY KEY,
  message_id INTEGER,
  application_id INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  detail TEXT,
  category TEXT,
  collapse_key TEXT
) STRICT;

CREATE UNIQUE INDEX inbox_log_item ON inbox_log (message_id) WHERE type = 'item';
