-- Where all servers on this database keep failures and spent codes. Empty until the first one is started.
CREATE TABLE guard_place (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    place TEXT NOT NULL
) STRICT;
