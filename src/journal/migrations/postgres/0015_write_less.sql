-- Whether a run has entries under no signature, said once: an index over a comparison with last_seq was
-- written again with every entry.
ALTER TABLE runs ADD COLUMN to_sign BIGINT NOT NULL DEFAULT 0;
UPDATE runs SET to_sign = 1 WHERE signed_seq < last_seq;
DROP INDEX runs_unsigned;
CREATE INDEX runs_unsigned ON runs (signed_at) WHERE to_sign = 1;
