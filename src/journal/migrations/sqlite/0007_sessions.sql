-- People who have signed in to the page, by the hash of what their browser holds. No tokens.
CREATE TABLE sessions (
    key     TEXT PRIMARY KEY,
    body    TEXT NOT NULL,             -- who, with which groups, JSON
    ends_at INTEGER NOT NULL          -- microseconds since 1970, UTC
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_end ON sessions (ends_at);
