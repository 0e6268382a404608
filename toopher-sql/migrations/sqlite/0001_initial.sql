-- Times are seconds since the Unix epoch, and milliseconds in used_steps, failures and approvals. Columns named
-- `sealed_…` are encrypted, and `…_digest` are SHA-256 digests.

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

-- Phones with a pairing. The token of a phone contains its id, name and time of registration, so a registration alone
-- stores nothing.
CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- The time of the registration.
    created INTEGER NOT NULL,
    -- Within a day of the last call.
    last_used INTEGER NOT NULL,
    -- By an administrator. The token is no longer valid.
    removed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX devices_by_age ON devices (created);

-- The words that a phone shows for some minutes, so that a site can pair with it. A device has one phrase at most. The
-- devices are not references, because most of them have no pairing yet.
CREATE TABLE phrases (
    -- Increases with each phrase. The oldest phrases are deleted.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    phrase TEXT NOT NULL UNIQUE,
    device_id TEXT NOT NULL UNIQUE,
    device_name TEXT NOT NULL,
    device_created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

-- What was attempted within a period: guesses, and creations of rows. `subject` names who is limited in what.
CREATE TABLE attempts (
    subject TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_by_age ON attempts (expires);

CREATE TABLE pairings (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- NULL until a device sends the claim of a QR code or a message.
    device_id TEXT REFERENCES devices (id),
    claim_digest BLOB UNIQUE,
    claim_expires INTEGER,
    sealed_claim BLOB,
    reset_digest BLOB UNIQUE,
    reset_expires INTEGER,
    -- The security question of the reset page, if the site has set one.
    reset_question TEXT,
    reset_answer_digest BLOB,
    reset_tries_left INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('pending', 'enabled', 'denied', 'deactivated')),
    sealed_secret BLOB NOT NULL,
    -- Requested on a page, by a user who has only shown the first factor.
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
-- A terminal is identified by its discriminator, or by its name if the discriminator is empty.
CREATE UNIQUE INDEX terminals_by_discriminator ON terminals (user_id, discriminator) WHERE discriminator <> '';
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
    -- The discriminator of the terminal at the time of the request. Rules are for that one.
    discriminator TEXT NOT NULL,
    action_id TEXT NOT NULL REFERENCES actions (id),
    state TEXT NOT NULL CHECK (state IN ('pending', 'granted', 'denied', 'cancelled')),
    automated INTEGER NOT NULL DEFAULT 0,
    totp_valid INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    automation_allowed INTEGER NOT NULL,
    challenge_required INTEGER NOT NULL,
    -- The two digits that the site shows and the user types on the phone, for requests with number matching.
    number TEXT CHECK (number GLOB '[1-9][0-9]'),
    expires INTEGER NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
CREATE INDEX requests_of_user ON requests (user_id, state);
CREATE INDEX requests_by_age ON requests (created);

-- The rules of phones ("Automate here"), which answer requests. The pairing identifies requester and user.
CREATE TABLE automations (
    id TEXT PRIMARY KEY,
    pairing_id TEXT NOT NULL REFERENCES pairings (id),
    terminal_id TEXT NOT NULL REFERENCES terminals (id),
    action_id TEXT NOT NULL REFERENCES actions (id),
    -- The rule applies while the terminal has this name.
    terminal_name TEXT NOT NULL,
    allow INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (pairing_id, terminal_id, action_id)
) STRICT;

-- Recovery codes, each valid once.
CREATE TABLE recovery_codes (
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

-- The nonces of calls signed before this time are deleted, and such calls are rejected.
CREATE TABLE nonces_deleted (before INTEGER NOT NULL) STRICT;
INSERT INTO nonces_deleted (before) VALUES (0);

-- Written by readiness probes, to learn whether the database accepts writes.
CREATE TABLE test_write (written INTEGER NOT NULL) STRICT;
INSERT INTO test_write (written) VALUES (0);

-- The stores of tower-toopher: used steps, failures and approvals. A user name is any text.
CREATE TABLE used_steps (
    user_name TEXT NOT NULL,
    device TEXT NOT NULL,
    -- With the highest bit flipped, so that unsigned steps are ordered as signed integers.
    step INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    PRIMARY KEY (user_name, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE failures (
    user_name TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    locked_out INTEGER NOT NULL,
    last INTEGER NOT NULL,
    until INTEGER NOT NULL,
    -- The failures that a success does not delete, and since when none of them has expired.
    recent INTEGER NOT NULL,
    recent_since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX failures_by_age ON failures (last);

-- At most one open approval for each user.
CREATE TABLE approvals (
    user_name TEXT PRIMARY KEY,
    -- The number of approvals since the last success.
    count INTEGER NOT NULL,
    -- Those of which it is unknown whether the verifier sent a push.
    uncertain INTEGER NOT NULL,
    last INTEGER NOT NULL,
    -- The open approval, or NULL.
    approval_key BLOB,
    binding BLOB,
    -- The id that the verifier assigned; NULL while its call is in progress.
    approval_id TEXT,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_by_age ON approvals (last);

-- The location of the failure store, which all servers on this database must use. Empty until the first one starts.
CREATE TABLE failure_store_location (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    location TEXT NOT NULL
) STRICT;

-- Pages in the frames of sites. The token in the URL of a page authorizes its actions.
CREATE TABLE web_sessions (
    token_digest BLOB PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL CHECK (kind IN ('authenticate', 'pair', 'unpair', 'manage')),
    -- Pages of the first protocol post some more fields.
    first_protocol INTEGER NOT NULL,
    inline_pairing INTEGER NOT NULL,
    -- Sent back to the site.
    session_token TEXT NOT NULL,
    requester_metadata TEXT,
    action_name TEXT NOT NULL,
    automation_allowed INTEGER NOT NULL,
    challenge_required INTEGER NOT NULL,
    -- Whether the request of the page uses number matching.
    number_matching INTEGER NOT NULL,
    terminal_name TEXT NOT NULL,
    discriminator TEXT NOT NULL,
    -- The origin of the site around the frame, if it is known.
    origin TEXT,
    pairing_id TEXT REFERENCES pairings (id),
    request_id TEXT,
    phrases_left INTEGER NOT NULL DEFAULT 10,
    -- When the result was signed first. Reloads do not renew the timestamp.
    signed INTEGER,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX web_sessions_by_age ON web_sessions (expires);
