-- Versions of outside objects that were judged, each by the event that saw it first.
CREATE TABLE seen (
    version  TEXT PRIMARY KEY,
    event_id TEXT NOT NULL,
    subject  TEXT NOT NULL,
    kind     TEXT,                      -- what work it meant, where it meant any
    at       INTEGER NOT NULL          -- microseconds since 1970, UTC
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_subject ON seen (subject, kind, at);
CREATE INDEX seen_at ON seen (at);

-- How far somebody has looked, and whose turn it is.
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
