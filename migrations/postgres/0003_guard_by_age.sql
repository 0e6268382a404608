-- By which rows that are over are found.
CREATE INDEX failures_by_age ON failures (last);
CREATE INDEX pushes_by_age ON pushes (last);
