-- The guard: approvals that are waited for, at most one of each user. Times are milliseconds.
CREATE TABLE pushes (
    user_name TEXT PRIMARY KEY,
    -- Since the last success.
    count INTEGER NOT NULL,
    -- Those of which nobody knows whether the phone was asked.
    uncertain INTEGER NOT NULL,
    last INTEGER NOT NULL,
    -- The one that is open, or none.
    ticket BLOB,
    about BLOB,
    -- The verifier's name of it; none while the call that asks is under way.
    approval TEXT,
    until INTEGER
) STRICT, WITHOUT ROWID;
