-- Approvals as they stand, folded from the logs: what the list of what waits for people needs.
CREATE TABLE approvals (
    id           TEXT PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES runs (id),
    state        TEXT NOT NULL,
    requested_at INTEGER NOT NULL,          -- microseconds since 1970, UTC
    expires_at   INTEGER NOT NULL,
    grant_until  INTEGER,                   -- until when it gives leave for more actions
    body         TEXT NOT NULL              -- the approval, JSON
) STRICT;
CREATE INDEX approvals_state ON approvals (state, requested_at);
CREATE INDEX approvals_grant ON approvals (grant_until);
