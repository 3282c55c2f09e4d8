-- Rows that only say "look at this message again" (type '~') are removed when everybody has looked;
-- there are few of them, and this finds them.
CREATE INDEX event_changed ON event (at) WHERE type = '~';
