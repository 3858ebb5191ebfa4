-- What runs used, added up for each scope of a budget, so that asking what is left costs the same with
-- ten runs and with a million. One row for each scope, period and name, and for each process that
-- adds: replicas never wait for each other's rows.
CREATE TABLE used (
    scope     TEXT NOT NULL,              -- run, thread, day, project
    key       TEXT NOT NULL,              -- the run; project/repository/subject; nothing; the project
    period    INTEGER NOT NULL,           -- first day, in days since 1970, UTC; 0 of a run
    name      TEXT NOT NULL,              -- of writes the action, of all else the deployment
    writer    TEXT NOT NULL,              -- the process that adds, where there may be several
    turns     INTEGER NOT NULL,
    steps     INTEGER NOT NULL,
    worked_ms INTEGER NOT NULL,
    input     INTEGER NOT NULL,
    cached    INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    writes    INTEGER NOT NULL,
    PRIMARY KEY (scope, key, period, name, writer)
) STRICT, WITHOUT ROWID;
INSERT INTO used (scope, key, period, name, writer, turns, steps, worked_ms, input, cached, output, writes)
SELECT 'run', run_id, 0, name, '',
       SUM(CASE WHEN item = 'turns' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'steps' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'worked_ms' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'input' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'cached' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'output' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'writes' THEN amount ELSE 0 END)
  FROM spent GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'thread', project || '/' || repository || '/' || subject, day, name, '',
       SUM(CASE WHEN item = 'turns' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'steps' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'worked_ms' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'input' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'cached' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'output' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'writes' THEN amount ELSE 0 END)
  FROM spent WHERE subject IS NOT NULL GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'day', '', day, name, '',
       SUM(CASE WHEN item = 'turns' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'steps' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'worked_ms' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'input' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'cached' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'output' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'writes' THEN amount ELSE 0 END)
  FROM spent GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'project', project, CAST(julianday(day * 86400, 'unixepoch', 'start of month') - 2440587.5 AS INTEGER), name, '',
       SUM(CASE WHEN item = 'turns' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'steps' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'worked_ms' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'input' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'cached' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'output' THEN amount ELSE 0 END),
       SUM(CASE WHEN item = 'writes' THEN amount ELSE 0 END)
  FROM spent GROUP BY 1, 2, 3, 4;
DROP TABLE spent;
