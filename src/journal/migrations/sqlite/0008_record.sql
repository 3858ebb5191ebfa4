-- Signatures over the record, and the keys that made them.
ALTER TABLE runs ADD COLUMN signed_seq INTEGER NOT NULL DEFAULT 0; -- newest entry under a signature
ALTER TABLE runs ADD COLUMN signed_at INTEGER NOT NULL DEFAULT 0;  -- when that was signed
ALTER TABLE runs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;       -- 1: nothing of it is erased
CREATE INDEX runs_unsigned ON runs (signed_at) WHERE signed_seq < last_seq;

CREATE TABLE checkpoints (
    chain     TEXT NOT NULL,       -- a run, or 'heads'
    seq       INTEGER NOT NULL,
    hash      TEXT NOT NULL,
    ts        INTEGER NOT NULL,
    key_id    TEXT NOT NULL,
    signature TEXT NOT NULL,       -- Ed25519, base64
    PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE record_keys (
    id         TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,      -- Ed25519, base64
    first_used INTEGER NOT NULL,
    last_used  INTEGER NOT NULL
) STRICT;

-- The house's own log: what happens to no run in particular. It is chained and signed as theirs are.
INSERT INTO runs (id, status, instruction, source, requested_by, project, repository, created_at, updated_at,
                  last_seq, head)
VALUES ('00000000000000000000000000000000', 'done', '', 'chat', '', '', '', 0, 0, 0, '');

-- One row while everything is stopped.
CREATE TABLE halt (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    body TEXT NOT NULL             -- who, when and why, JSON
) STRICT;

-- What was written since an instant, over all logs.
CREATE INDEX log_ts ON log (ts);
