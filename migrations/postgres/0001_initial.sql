-- The tables of migrations/sqlite, in a schema of their own. Times are seconds since 1970-01-01 00:00 UTC, but for those
-- of the guard tables, which are milliseconds. Columns called `sealed_…` are encrypted; `…_digest` are SHA-256. What is
-- compared is compared byte by byte. Every reference has an index, since what is removed is looked for in all of them.

CREATE TABLE requesters (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    consumer_key TEXT COLLATE "C" NOT NULL UNIQUE,
    sealed_secret BYTEA NOT NULL,
    revoked BOOLEAN NOT NULL DEFAULT FALSE,
    created BIGINT NOT NULL
);

CREATE TABLE users (
    id TEXT COLLATE "C" PRIMARY KEY,
    requester_id TEXT COLLATE "C" NOT NULL REFERENCES requesters (id),
    name TEXT COLLATE "C" NOT NULL,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    created BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    UNIQUE (requester_id, name)
);

CREATE TABLE devices (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    token_digest BYTEA NOT NULL UNIQUE,
    created BIGINT NOT NULL
);

-- What a phone shows for a while, so that a site can pair with it.
CREATE TABLE phrases (
    phrase TEXT COLLATE "C" PRIMARY KEY,
    device_id TEXT COLLATE "C" NOT NULL REFERENCES devices (id),
    expires BIGINT NOT NULL
);
CREATE INDEX phrases_of_device ON phrases (device_id);

CREATE TABLE pairings (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    -- None while a QR code or a message waits to be claimed by one.
    device_id TEXT COLLATE "C" REFERENCES devices (id),
    claim_digest BYTEA UNIQUE,
    claim_expires BIGINT,
    sealed_claim BYTEA,
    reset_digest BYTEA UNIQUE,
    reset_expires BIGINT,
    -- What the reset page asks for, where the site has said so.
    reset_question TEXT,
    reset_answer_digest BYTEA,
    reset_tries_left BIGINT NOT NULL DEFAULT 0,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'enabled', 'refused', 'deactivated')),
    sealed_secret BYTEA NOT NULL,
    -- Asked for on a page, by someone who has shown no more than the first factor.
    from_page BOOLEAN NOT NULL DEFAULT FALSE,
    created BIGINT NOT NULL,
    modified BIGINT NOT NULL
);
CREATE INDEX pairings_of_user ON pairings (user_id);
CREATE INDEX pairings_of_device ON pairings (device_id);

CREATE TABLE terminals (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    name TEXT COLLATE "C" NOT NULL,
    discriminator TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    modified BIGINT NOT NULL
);
-- With a discriminator that is what a terminal is; without, its name is.
CREATE UNIQUE INDEX terminals_told_apart ON terminals (user_id, discriminator) WHERE discriminator <> '';
CREATE UNIQUE INDEX terminals_by_name ON terminals (user_id, name) WHERE discriminator = '';

CREATE TABLE actions (
    id TEXT COLLATE "C" PRIMARY KEY,
    requester_id TEXT COLLATE "C" NOT NULL REFERENCES requesters (id),
    name TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (requester_id, name)
);

CREATE TABLE requests (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    pairing_id TEXT COLLATE "C" REFERENCES pairings (id),
    terminal_id TEXT COLLATE "C" NOT NULL REFERENCES terminals (id),
    -- The terminal's when the request was made: a rule is for that one.
    discriminator TEXT COLLATE "C" NOT NULL,
    action_id TEXT COLLATE "C" NOT NULL REFERENCES actions (id),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'granted', 'denied', 'cancelled')),
    automated BOOLEAN NOT NULL DEFAULT FALSE,
    totp_valid BOOLEAN NOT NULL DEFAULT FALSE,
    reason TEXT NOT NULL DEFAULT '',
    automation_allowed BOOLEAN NOT NULL,
    challenge_required BOOLEAN NOT NULL,
    -- Two digits that the site shows and the phone asks for, where a request is matched by them.
    number TEXT COLLATE "C" CHECK (number ~ '^[1-9][0-9]$'),
    expires BIGINT NOT NULL,
    created BIGINT NOT NULL,
    modified BIGINT NOT NULL
);
CREATE INDEX requests_of_user ON requests (user_id, state);
CREATE INDEX requests_of_pairing ON requests (pairing_id);
CREATE INDEX requests_of_terminal ON requests (terminal_id);
CREATE INDEX requests_of_action ON requests (action_id);
CREATE INDEX requests_by_age ON requests (created);

-- "Automate here": what a phone answers by itself. A pairing stands for requester and user.
CREATE TABLE automations (
    id TEXT COLLATE "C" PRIMARY KEY,
    pairing_id TEXT COLLATE "C" NOT NULL REFERENCES pairings (id),
    terminal_id TEXT COLLATE "C" NOT NULL REFERENCES terminals (id),
    action_id TEXT COLLATE "C" NOT NULL REFERENCES actions (id),
    -- A rule is for a terminal of this name.
    terminal_name TEXT COLLATE "C" NOT NULL,
    allow BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (pairing_id, terminal_id, action_id)
);
CREATE INDEX automations_of_terminal ON automations (terminal_id);
CREATE INDEX automations_of_action ON automations (action_id);

-- Printed codes, each good for once.
CREATE TABLE backup_codes (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    digest BYTEA NOT NULL,
    PRIMARY KEY (user_id, digest)
);

-- A nonce is whatever the caller says, as UTF-8.
CREATE TABLE nonces (
    consumer_key TEXT COLLATE "C" NOT NULL,
    timestamp BIGINT NOT NULL,
    nonce BYTEA NOT NULL,
    PRIMARY KEY (consumer_key, timestamp, nonce)
);
CREATE INDEX nonces_by_age ON nonces (timestamp);

-- Calls signed before this have had their nonces forgotten, and are refused.
CREATE TABLE nonces_forgotten (before BIGINT NOT NULL);
INSERT INTO nonces_forgotten (before) VALUES (0);

-- The guard: spent steps, failures, and approvals that are waited for. A user here is whatever the application calls
-- one, as UTF-8.
CREATE TABLE spent_steps (
    user_name BYTEA NOT NULL,
    device BYTEA NOT NULL,
    -- Flipped in its highest bit, so that unsigned steps are in order as signed integers.
    step BIGINT NOT NULL,
    keep_until BIGINT NOT NULL,
    PRIMARY KEY (user_name, device)
);
CREATE INDEX spent_steps_by_age ON spent_steps (keep_until);

CREATE TABLE failures (
    user_name BYTEA PRIMARY KEY,
    count BIGINT NOT NULL,
    locked_out BOOLEAN NOT NULL,
    last BIGINT NOT NULL,
    until BIGINT NOT NULL
);

CREATE TABLE pushes (
    user_name BYTEA PRIMARY KEY,
    -- Since the last success.
    count BIGINT NOT NULL,
    -- Those of which nobody knows whether the phone was asked.
    uncertain BIGINT NOT NULL,
    last BIGINT NOT NULL,
    -- The one that is open, or none.
    ticket BYTEA,
    about BYTEA,
    -- The verifier's name of it; none while the call that asks is under way.
    approval BYTEA,
    until BIGINT
);

-- A page in a frame of a site. Its token, in the page's address, is the authority for what the page can do.
CREATE TABLE web_sessions (
    token_digest BYTEA PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('authenticate', 'pair', 'unpair', 'manage')),
    -- The first protocol posts some fields more.
    first_protocol BOOLEAN NOT NULL,
    inline_pairing BOOLEAN NOT NULL,
    -- What the site wants back.
    session_token TEXT NOT NULL,
    requester_metadata TEXT,
    action_name TEXT NOT NULL,
    automation_allowed BOOLEAN NOT NULL,
    challenge_required BOOLEAN NOT NULL,
    -- Whether the question of a page is.
    number_matching BOOLEAN NOT NULL,
    terminal_name TEXT NOT NULL,
    discriminator TEXT NOT NULL,
    -- The site around the frame, where the browser says which it is.
    origin TEXT,
    pairing_id TEXT COLLATE "C" REFERENCES pairings (id),
    request_id TEXT,
    phrases_left BIGINT NOT NULL DEFAULT 10,
    -- When the outcome was signed first: it does not become younger by being looked at again.
    signed BIGINT,
    expires BIGINT NOT NULL
);
CREATE INDEX web_sessions_of_pairing ON web_sessions (pairing_id);
CREATE INDEX web_sessions_by_age ON web_sessions (expires);
