-- One row per run: a projection of its log that the queue and the lists need.
CREATE TABLE runs (
    id           TEXT PRIMARY KEY,
    status       TEXT NOT NULL,
    waiting_for  TEXT,
    instruction  TEXT NOT NULL,
    source       TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    subject      TEXT,                      -- what it is about, for example pull_request:12
    created_at   INTEGER NOT NULL,          -- microseconds since 1970, UTC
    updated_at   INTEGER NOT NULL,
    last_seq     INTEGER NOT NULL,
    head         TEXT NOT NULL,             -- hash of the last log entry
    fence        INTEGER NOT NULL DEFAULT 0,
    holder       TEXT,
    lease_until  INTEGER,
    wake_at      INTEGER
) STRICT;
CREATE INDEX runs_claim ON runs (status, wake_at, created_at);
CREATE INDEX runs_subject ON runs (subject, created_at);

-- The record. Append-only; `hash` covers `prev`, sequence, time and body.
CREATE TABLE log (
    run_id TEXT NOT NULL REFERENCES runs (id),
    seq    INTEGER NOT NULL,
    ts     INTEGER NOT NULL,
    body   TEXT NOT NULL,
    prev   TEXT NOT NULL,
    hash   TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

-- A chain over the ends of all runs, so that a whole run cannot vanish unseen.
CREATE TABLE heads (
    n      INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    head   TEXT NOT NULL,
    prev   TEXT NOT NULL,
    hash   TEXT NOT NULL
) STRICT;

-- What came in from outside, each with its fate.
CREATE TABLE intake (
    id          TEXT PRIMARY KEY,
    dedup_key   TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    summary     TEXT NOT NULL,
    event       TEXT NOT NULL,              -- ids only, JSON
    status      TEXT NOT NULL,
    reason      TEXT,
    run_id      TEXT,
    received_at INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    lease_until INTEGER
) STRICT;
CREATE INDEX intake_status ON intake (status, received_at);
