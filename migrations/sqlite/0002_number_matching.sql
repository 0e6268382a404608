-- Two digits that the site shows and the phone asks for, where a request is matched by them.
ALTER TABLE requests ADD COLUMN number TEXT CHECK (number GLOB '[1-9][0-9]');

-- Whether the question of a page is. Pages that are open already ask as they always have.
ALTER TABLE web_sessions ADD COLUMN number_matching INTEGER NOT NULL DEFAULT 0;
