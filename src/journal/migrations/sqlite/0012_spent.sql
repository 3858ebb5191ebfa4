-- What runs used, added up from their logs in the transaction that writes an entry: one row for each
-- run, day and thing that is counted.
CREATE TABLE spent (
    run_id     TEXT NOT NULL REFERENCES runs (id),
    day        INTEGER NOT NULL,           -- days since 1970, UTC
    item       TEXT NOT NULL,              -- turns, steps, worked_ms, input, cached, output, writes
    name       TEXT NOT NULL,              -- of tokens the deployment, of writes the action
    amount     INTEGER NOT NULL,
    project    TEXT NOT NULL,
    repository TEXT NOT NULL,
    subject    TEXT,
    PRIMARY KEY (run_id, day, item, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_day ON spent (day, project, item, name, amount);
CREATE INDEX spent_subject ON spent (subject, day) WHERE subject IS NOT NULL;
