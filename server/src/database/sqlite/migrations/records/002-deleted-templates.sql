-- A template that is deleted keeps its row, and its versions as long as messages name them: what was
-- accepted is rendered with the version it was accepted with. Before, both went at once and
-- template_deleted kept the greatest number.

-- Versions below it belong to templates of the same key that were deleted.
ALTER TABLE template ADD COLUMN first_version INTEGER NOT NULL DEFAULT 1;
-- Null while there is a template of this key; the row stays, so that no number is given twice.
ALTER TABLE template ADD COLUMN deleted_at INTEGER;

UPDATE template SET first_version = d.latest_version + 1
  FROM template_deleted AS d
  WHERE d.application_id = template.application_id AND d.key = template.key;

INSERT INTO template (application_id, key, name, latest_version, created_at, updated_at,
    first_version, deleted_at)
  SELECT d.application_id, d.key, d.key, d.latest_version, 0, 0, d.latest_version + 1, 0
  FROM template_deleted AS d
  WHERE NOT EXISTS (
    SELECT 1 FROM template AS t WHERE t.application_id = d.application_id AND t.key = d.key
  );

DROP TABLE template_deleted;

-- Lists do not go through what was deleted.
CREATE INDEX template_present ON template (application_id, key) WHERE deleted_at IS NULL;

-- Deletions whose versions are still kept.
CREATE TABLE template_deletion (
  -- Never given again: whoever removes versions has read it before.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  template_id INTEGER NOT NULL,
  first_version INTEGER NOT NULL,
  last_version INTEGER NOT NULL,
  deleted_at INTEGER NOT NULL
) STRICT;
