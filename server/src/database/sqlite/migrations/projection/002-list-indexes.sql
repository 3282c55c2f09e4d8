-- Lists that name what is rare find it at once, whoever asks. What few messages share comes first, so
-- that operators, who ask about all applications, use the same index.
DROP INDEX message_index_user;
CREATE INDEX message_index_user ON message_index (user_id, application_id, id) WHERE user_id IS NOT NULL;
DROP INDEX message_index_batch;
CREATE INDEX message_index_batch ON message_index (batch, application_id, id) WHERE batch IS NOT NULL;
-- For operators: those of one application are in message_index_status.
CREATE INDEX message_index_any_status ON message_index (status, id) WHERE status <> 4;
CREATE INDEX message_index_channel ON message_index (application_id, channel, id) WHERE channel IS NOT NULL;
CREATE INDEX message_index_category ON message_index (application_id, category, id) WHERE category IS NOT NULL;
