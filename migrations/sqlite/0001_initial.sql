-- Times are seconds since 1970-01-01 00:00 UTC, but for those of the guard tables, which are milliseconds.
-- Columns called `sealed_…` are encrypted; `…_digest` are SHA-256.

CREATE TABLE requesters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    consumer_key TEXT NOT NULL UNIQUE,
    sealed_secret BLOB NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    requester_id TEXT NOT NULL REFERENCES requesters (id),
    name TEXT NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    UNIQUE (requester_id, name)
) STRICT;

CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    token_digest BLOB NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT;

-- What a phone shows for a while, so that a site can pair with it.
CREATE TABLE phrases (
    phrase TEXT PRIMARY KEY,
    device_id TEXT NOT NULL REFERENCES devices (id),
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE pairings (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- None while a QR code or a message waits to be claimed by one.
    device_id TEXT REFERENCES devices (id),
    claim_digest BLOB UNIQUE,
    claim_expires INTEGER,
    sealed_claim BLOB,
    reset_digest BLOB UNIQUE,
    reset_expires INTEGER,
    -- What the reset page asks for, where the site has said so.
    reset_question TEXT,
    reset_answer_digest BLOB,
    reset_tries_left INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('pending', 'enabled', 'refused', 'deactivated')),
    sealed_secret BLOB NOT NULL,
    -- Asked for on a page, by someone who has shown no more than the first factor.
    from_page INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
CREATE INDEX pairings_of_user ON pairings (user_id);
CREATE INDEX pairings_of_device ON pairings (device_id);

CREATE TABLE terminals (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    discriminator TEXT NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
-- With a discriminator that is what a terminal is; without, its name is.
CREATE UNIQUE INDEX terminals_told_apart ON terminals (user_id, discriminator) WHERE discriminator <> '';
CREATE UNIQUE INDEX terminals_by_name ON terminals (user_id, name) WHERE discriminator = '';

CREATE TABLE actions (
    id TEXT PRIMARY KEY,
    requester_id TEXT NOT NULL REFERENCES requesters (id),
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (requester_id, name)
) STRICT;

CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    pairing_id TEXT REFERENCES pairings (id),
    terminal_id TEXT NOT NULL REFERENCES terminals (id),
    -- The terminal's when the request was made: a rule is for that one.
    discriminator TEXT NOT NULL,
    action_id TEXT NOT NULL REFERENCES actions (id),
    state TEXT NOT NULL CHECK (state IN ('pending', 'granted', 'denied', 'cancelled')),
    automated INTEGER NOT NULL DEFAULT 0,
    totp_valid INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    automation_allowed INTEGER NOT NULL,
    challenge_required INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
CREATE INDEX requests_of_user ON requests (user_id, state);
CREATE INDEX requests_by_age ON requests (created);

-- "Automate here": what a phone answers by itself. A pairing stands for requester and user.
CREATE TABLE automations (
    id TEXT PRIMARY KEY,
    pairing_id TEXT NOT NULL REFERENCES pairings (id),
    terminal_id TEXT NOT NULL REFERENCES terminals (id),
    action_id TEXT NOT NULL REFERENCES actions (id),
    -- A rule is for a terminal of this name.
    terminal_name TEXT NOT NULL,
    allow INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (pairing_id, terminal_id, action_id)
) STRICT;

-- Printed codes, each good for once.
CREATE TABLE backup_codes (
    user_id TEXT NOT NULL REFERENCES users (id),
    digest BLOB NOT NULL,
    PRIMARY KEY (user_id, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE nonces (
    consumer_key TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    nonce TEXT NOT NULL,
    PRIMARY KEY (consumer_key, timestamp, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_age ON nonces (timestamp);

-- Calls signed before this have had their nonces forgotten, and are refused.
CREATE TABLE nonces_forgotten (before INTEGER NOT NULL) STRICT;
INSERT INTO nonces_forgotten (before) VALUES (0);

-- The guard: spent steps and failures. A user here is whatever the application calls one.
CREATE TABLE spent_steps (
    user_name TEXT NOT NULL,
    device TEXT NOT NULL,
    -- Flipped in its highest bit, so that unsigned steps are in order as signed integers.
    step INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    PRIMARY KEY (user_name, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE failures (
    user_name TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    locked_out INTEGER NOT NULL,
    last INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A page in a frame of a site. Its token, in the page's address, is the authority for what the page can do.
CREATE TABLE web_sessions (
    token_digest BLOB PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL CHECK (kind IN ('authenticate', 'pair', 'unpair', 'manage')),
    -- The first protocol posts some fields more.
    first_protocol INTEGER NOT NULL,
    inline_pairing INTEGER NOT NULL,
    -- What the site wants back.
    session_token TEXT NOT NULL,
    requester_metadata TEXT,
    action_name TEXT NOT NULL,
    automation_allowed INTEGER NOT NULL,
    challenge_required INTEGER NOT NULL,
    terminal_name TEXT NOT NULL,
    discriminator TEXT NOT NULL,
    -- The site around the frame, where the browser says which it is.
    origin TEXT,
    pairing_id TEXT REFERENCES pairings (id),
    request_id TEXT,
    phrases_left INTEGER NOT NULL DEFAULT 10,
    -- When the outcome was signed first: it does not become younger by being looked at again.
    signed INTEGER,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
