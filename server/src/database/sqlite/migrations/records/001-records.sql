-- What people configure and keep: applications, keys, templates, users, endpoints.

CREATE TABLE application (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
  id INTEGER PRIMARY KEY,
  application_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  scopes TEXT NOT NULL,
  prefix TEXT NOT NULL,
  -- First 16 hex characters of the digest: the indexed look-up; the rest is compared in constant time.
  lookup TEXT NOT NULL,
  digest TEXT NOT NULL UNIQUE,
  session INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT;
CREATE INDEX api_key_lookup ON api_key (lookup);
CREATE INDEX api_key_application ON api_key (application_id, id);

CREATE TABLE admin_link (
  digest TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE category (
  application_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  name TEXT,
  mandatory INTEGER NOT NULL,
  PRIMARY KEY (application_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE template (
  id INTEGER PRIMARY KEY,
  application_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT,
  category TEXT,
  priority TEXT,
  published_version INTEGER,
  latest_version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (application_id, key)
) STRICT;

-- Greatest version number of each key whose template was deleted: no number is given twice.
CREATE TABLE template_deleted (
  application_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  latest_version INTEGER NOT NULL,
  PRIMARY KEY (application_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE template_version (
  template_id INTEGER NOT NULL,
  version INTEGER NOT NULL,
  locale TEXT NOT NULL,
  -- JSON: { content, translations, variables, example }.
  body TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  published_at INTEGER,
  PRIMARY KEY (template_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
  application_id INTEGER NOT NULL,
  id TEXT NOT NULL,
  profile TEXT NOT NULL,
  preferences TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (application_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_group (
  application_id INTEGER NOT NULL,
  group_key TEXT NOT NULL,
  user_id TEXT NOT NULL,
  PRIMARY KEY (application_id, group_key, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_group_user ON user_group (application_id, user_id);

CREATE TABLE webhook_endpoint (
  id INTEGER PRIMARY KEY,
  application_id INTEGER NOT NULL,
  url TEXT NOT NULL,
  description TEXT,
  -- JSON: [{ secret, until }], newest first; each secret is sealed, `until` is in ms or null.
  secrets TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  disabled_reason TEXT,
  failing_since INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (application_id, url)
) STRICT;
CREATE INDEX webhook_endpoint_application ON webhook_endpoint (application_id, id);
