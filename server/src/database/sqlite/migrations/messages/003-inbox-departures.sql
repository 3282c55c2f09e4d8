-- Whose inbox a row `removed` of the inbox log is about, which names nobody itself: for whoever has the
-- item on a screen. Only of the latest rows.
CREATE TABLE inbox_removed (
  seq INTEGER PRIMARY KEY,
  application_id INTEGER NOT NULL,
  user_id TEXT NOT NULL
) STRICT;

-- The latest row `cleared` of each inbox, which took everything away: tokens from before it open
-- nothing any more. Kept for longer than a token lives.
CREATE TABLE inbox_cleared (
  application_id INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (application_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_cleared_at ON inbox_cleared (at);
