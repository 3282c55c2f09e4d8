-- What left an inbox without its user's doing, for live streams: by the number of the log's row that did
-- it. `replaced` has the ids of the items that were archived and the one that did it, `removed` the id
-- that is gone, `cleared` none. Only the latest are kept.
CREATE TABLE inbox_departure (
  seq INTEGER PRIMARY KEY,
  application_id INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  message_ids TEXT NOT NULL,
  replaced_by INTEGER
) STRICT;
CREATE INDEX inbox_departure_user ON inbox_departure (application_id, user_id, seq);
