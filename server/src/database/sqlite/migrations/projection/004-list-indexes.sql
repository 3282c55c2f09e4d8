-- Operators, who ask about all applications at once, find by channel, category and template as well.
CREATE INDEX message_index_any_channel ON message_index (channel, id) WHERE channel IS NOT NULL;
CREATE INDEX message_index_any_category ON message_index (category, id) WHERE category IS NOT NULL;
-- Few applications share the name of a template, so one index serves all who ask.
DROP INDEX message_index_template;
CREATE INDEX message_index_template ON message_index (template, id) WHERE template IS NOT NULL;
-- What is rare: other priorities than medium, and what test keys have sent.
CREATE INDEX message_index_lane ON message_index (lane, id) WHERE lane <> 1;
CREATE INDEX message_index_test ON message_index (id) WHERE test = 1;
-- By how much ids run ahead of the time of acceptance at most, in ms: a list up to a time begins there.
INSERT INTO position
  SELECT 'lead', coalesce(max(0, max(id / 4194304 * 1000 + 1767225600000 - created_at)), 0) FROM message_index;
