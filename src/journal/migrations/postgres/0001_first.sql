-- One row per run: a projection of its log that the queue and the lists need.
-- Times are microseconds since 1970, UTC.
CREATE TABLE runs (
    id           TEXT PRIMARY KEY,
    status       TEXT NOT NULL,
    waiting_for  TEXT,
    instruction  TEXT NOT NULL,
    source       TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    project      TEXT NOT NULL,
    repository   TEXT NOT NULL,
    subject      TEXT,                      -- what it is about, for example pull_request:12
    model        TEXT,                      -- the deployment that its holder works with
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    last_seq     BIGINT NOT NULL,
    head         TEXT NOT NULL,             -- hash of the last log entry
    fence        BIGINT NOT NULL DEFAULT 0,
    holder       TEXT,
    lease_until  BIGINT,
    due_at       BIGINT,                   -- when a worker may take it; the end of the lease while it is held
    attempts     BIGINT NOT NULL DEFAULT 0 -- claims in a row without progress
);
CREATE INDEX runs_due ON runs (project, repository, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_running ON runs (subject) WHERE status = 'running';
CREATE INDEX runs_status ON runs (status);
CREATE INDEX runs_created ON runs (created_at);
CREATE INDEX runs_subject ON runs (subject, created_at) WHERE subject IS NOT NULL;

-- The record. Append-only; `hash` covers `prev`, run, sequence, time and commitment, and the
-- commitment covers the body. Body and salt may be erased; the chain stays whole.
CREATE TABLE log (
    run_id     TEXT NOT NULL REFERENCES runs (id),
    seq        BIGINT NOT NULL,
    ts         BIGINT NOT NULL,
    body       TEXT,
    salt       BYTEA,
    commitment TEXT NOT NULL,
    prev       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
);

-- A chain over the ends of all runs, so that a whole run cannot vanish unseen.
CREATE TABLE heads (
    n      BIGINT PRIMARY KEY,
    run_id TEXT NOT NULL,
    seq    BIGINT NOT NULL,
    head   TEXT NOT NULL,
    prev   TEXT NOT NULL,
    hash   TEXT NOT NULL
);

-- What came in from outside, each with its fate.
CREATE TABLE intake (
    id          TEXT PRIMARY KEY,
    dedup_key   TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    summary     TEXT NOT NULL,
    event       TEXT NOT NULL,              -- ids only, JSON
    subject     TEXT,                       -- events with the same one are judged together
    status      TEXT NOT NULL,
    reason      TEXT,
    run_id      TEXT,
    received_at BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    holder      TEXT,                       -- who judges it now
    due_at      BIGINT,                    -- when it may be judged; the end of the lease while it is held
    attempts    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX intake_due ON intake (due_at) WHERE status = 'received';
CREATE INDEX intake_together ON intake (subject) WHERE status = 'received';
CREATE INDEX intake_received ON intake (received_at);
CREATE INDEX intake_run ON intake (run_id) WHERE run_id IS NOT NULL;
