-- The tables of migrations/sqlite, in the schema `toopher`. Times are seconds since the Unix epoch, and milliseconds in
-- used_steps, failures and approvals. Columns named `sealed_…` are encrypted, and `…_digest` are SHA-256 digests. Text
-- that is compared has the collation "C". Every reference has an index, which deletions need.

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

-- Phones with a pairing. The token of a phone contains its id, name and time of registration, so a registration alone
-- stores nothing.
CREATE TABLE devices (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    -- The time of the registration.
    created BIGINT NOT NULL,
    -- Within a day of the last call.
    last_used BIGINT NOT NULL,
    -- By an administrator. The token is no longer valid.
    removed BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX devices_by_age ON devices (created);

-- The words that a phone shows for some minutes, so that a site can pair with it. A device has one phrase at most. The
-- devices are not references, because most of them have no pairing yet.
CREATE TABLE phrases (
    -- Increases with each phrase. The oldest phrases are deleted.
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phrase TEXT COLLATE "C" NOT NULL UNIQUE,
    device_id TEXT COLLATE "C" NOT NULL UNIQUE,
    device_name TEXT COLLATE "C" NOT NULL,
    device_created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);

-- What was attempted within a period: guesses, and creations of rows. `subject` names who is limited in what.
CREATE TABLE attempts (
    subject TEXT COLLATE "C" PRIMARY KEY,
    count BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX attempts_by_age ON attempts (expires);

CREATE TABLE pairings (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    -- NULL until a device sends the claim of a QR code or a message.
    device_id TEXT COLLATE "C" REFERENCES devices (id),
    claim_digest BYTEA UNIQUE,
    claim_expires BIGINT,
    sealed_claim BYTEA,
    reset_digest BYTEA UNIQUE,
    reset_expires BIGINT,
    -- The security question of the reset page, if the site has set one.
    reset_question TEXT,
    reset_answer_digest BYTEA,
    reset_tries_left BIGINT NOT NULL DEFAULT 0,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'enabled', 'denied', 'deactivated')),
    sealed_secret BYTEA NOT NULL,
    -- Requested on a page, by a user who has only shown the first factor.
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
-- A terminal is identified by its discriminator, or by its name if the discriminator is empty.
CREATE UNIQUE INDEX terminals_by_discriminator ON terminals (user_id, discriminator) WHERE discriminator <> '';
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
    -- The discriminator of the terminal at the time of the request. Rules are for that one.
    discriminator TEXT COLLATE "C" NOT NULL,
    action_id TEXT COLLATE "C" NOT NULL REFERENCES actions (id),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'granted', 'denied', 'cancelled')),
    automated BOOLEAN NOT NULL DEFAULT FALSE,
    totp_valid BOOLEAN NOT NULL DEFAULT FALSE,
    reason TEXT NOT NULL DEFAULT '',
    automation_allowed BOOLEAN NOT NULL,
    challenge_required BOOLEAN NOT NULL,
    -- The two digits that the site shows and the user types on the phone, for requests with number matching.
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

-- The rules of phones ("Automate here"), which answer requests. The pairing identifies requester and user.
CREATE TABLE automations (
    id TEXT COLLATE "C" PRIMARY KEY,
    pairing_id TEXT COLLATE "C" NOT NULL REFERENCES pairings (id),
    terminal_id TEXT COLLATE "C" NOT NULL REFERENCES terminals (id),
    action_id TEXT COLLATE "C" NOT NULL REFERENCES actions (id),
    -- The rule applies while the terminal has this name.
    terminal_name TEXT COLLATE "C" NOT NULL,
    allow BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (pairing_id, terminal_id, action_id)
);
CREATE INDEX automations_of_terminal ON automations (terminal_id);
CREATE INDEX automations_of_action ON automations (action_id);

-- Recovery codes, each valid once.
CREATE TABLE recovery_codes (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    digest BYTEA NOT NULL,
    PRIMARY KEY (user_id, digest)
);

-- A nonce is any text, as UTF-8.
CREATE TABLE nonces (
    consumer_key TEXT COLLATE "C" NOT NULL,
    timestamp BIGINT NOT NULL,
    nonce BYTEA NOT NULL,
    PRIMARY KEY (consumer_key, timestamp, nonce)
);
CREATE INDEX nonces_by_age ON nonces (timestamp);

-- The nonces of calls signed before this time are deleted, and such calls are rejected.
CREATE TABLE nonces_deleted (before BIGINT NOT NULL);
INSERT INTO nonces_deleted (before) VALUES (0);

-- Written by readiness probes, to learn whether the database accepts writes.
CREATE TABLE test_write (written BIGINT NOT NULL);
INSERT INTO test_write (written) VALUES (0);

-- The stores of tower-toopher: used steps, failures and approvals. A user name is any text, as UTF-8.
CREATE TABLE used_steps (
    user_name BYTEA NOT NULL,
    device BYTEA NOT NULL,
    -- With the highest bit flipped, so that unsigned steps are ordered as signed integers.
    step BIGINT NOT NULL,
    keep_until BIGINT NOT NULL,
    PRIMARY KEY (user_name, device)
);
CREATE INDEX used_steps_by_age ON used_steps (keep_until);

CREATE TABLE failures (
    user_name BYTEA PRIMARY KEY,
    count BIGINT NOT NULL,
    locked_out BOOLEAN NOT NULL,
    last BIGINT NOT NULL,
    until BIGINT NOT NULL,
    -- The failures that a success does not delete, and since when none of them has expired.
    recent BIGINT NOT NULL,
    recent_since BIGINT NOT NULL
);
CREATE INDEX failures_by_age ON failures (last);

-- At most one open approval for each user.
CREATE TABLE approvals (
    user_name BYTEA PRIMARY KEY,
    -- The number of approvals since the last success.
    count BIGINT NOT NULL,
    -- Those of which it is unknown whether the verifier sent a push.
    uncertain BIGINT NOT NULL,
    last BIGINT NOT NULL,
    -- The open approval, or NULL.
    approval_key BYTEA,
    binding BYTEA,
    -- The id that the verifier assigned; NULL while its call is in progress.
    approval_id BYTEA,
    expires BIGINT
);
CREATE INDEX approvals_by_age ON approvals (last);

-- The location of the failure store, which all servers on this database must use. Empty until the first one starts.
CREATE TABLE failure_store_location (
    id INT PRIMARY KEY CHECK (id = 1),
    location TEXT NOT NULL
);

-- Pages in the frames of sites. The token in the URL of a page authorizes its actions.
CREATE TABLE web_sessions (
    token_digest BYTEA PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('authenticate', 'pair', 'unpair', 'manage')),
    -- Pages of the first protocol post some more fields.
    first_protocol BOOLEAN NOT NULL,
    inline_pairing BOOLEAN NOT NULL,
    -- Sent back to the site.
    session_token TEXT NOT NULL,
    requester_metadata TEXT,
    action_name TEXT NOT NULL,
    automation_allowed BOOLEAN NOT NULL,
    challenge_required BOOLEAN NOT NULL,
    -- Whether the request of the page uses number matching.
    number_matching BOOLEAN NOT NULL,
    terminal_name TEXT NOT NULL,
    discriminator TEXT NOT NULL,
    -- The origin of the site around the frame, if it is known.
    origin TEXT,
    pairing_id TEXT COLLATE "C" REFERENCES pairings (id),
    request_id TEXT,
    phrases_left BIGINT NOT NULL DEFAULT 10,
    -- When the result was signed first. Reloads do not renew the timestamp.
    signed BIGINT,
    expires BIGINT NOT NULL
);
CREATE INDEX web_sessions_of_pairing ON web_sessions (pairing_id);
CREATE INDEX web_sessions_by_age ON web_sessions (expires);

-- Operations that would need several round trips. Each is one transaction. After `pg_advisory_xact_lock`, a statement
-- sees what the previous holder of the lock has committed, because each statement of a function has its own snapshot.

-- Records the nonce of a call. `is_new` is false if it was recorded before.
CREATE FUNCTION record_nonce(key TEXT, signed_at BIGINT, value BYTEA, OUT is_new BOOLEAN, OUT deleted_before BIGINT)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO nonces (consumer_key, timestamp, nonce) VALUES (key, signed_at, value)
        ON CONFLICT (consumer_key, timestamp, nonce) DO NOTHING;
    is_new := FOUND;
    -- Read after the insertion: a nonce that was deleted just before it looks new.
    SELECT before INTO deleted_before FROM nonces_deleted;
END
$$;

-- Writes the failures of a user unless they have changed since they were read. Returns whether they are written.
CREATE FUNCTION replace_failures(lock BIGINT, old failures, new failures) RETURNS BOOLEAN
LANGUAGE plpgsql AS $$
DECLARE
    stored failures;
BEGIN
    PERFORM pg_advisory_xact_lock(lock);
    SELECT * INTO stored FROM failures WHERE user_name = new.user_name;
    IF NOT FOUND THEN
        stored := ROW(new.user_name, 0, FALSE, 0, 0, 0, 0);
    END IF;
    IF stored IS DISTINCT FROM old THEN
        RETURN FALSE;
    END IF;
    INSERT INTO failures SELECT new.*
        ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, locked_out = excluded.locked_out,
            last = excluded.last, until = excluded.until, recent = excluded.recent,
            recent_since = excluded.recent_since;
    RETURN TRUE;
END
$$;

-- Deletes the failures in a row and the approvals of a user, after a success. `counted` is 1 if the success was counted
-- as an attempt before, in both columns, and 0 otherwise.
CREATE FUNCTION succeed(name BYTEA, counted BIGINT) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM approvals WHERE user_name = name;
    UPDATE failures SET count = 0, locked_out = FALSE, until = 0,
            recent = recent - CASE WHEN count > 0 AND recent > 0 THEN counted ELSE 0 END
        WHERE user_name = name;
    DELETE FROM failures WHERE user_name = name AND recent = 0;
END
$$;

-- Records a step as used, unless it or a later one was used before. Returns whether it was fresh.
CREATE FUNCTION record_step(lock BIGINT, name BYTEA, used_device BYTEA, used_step BIGINT, keep BIGINT, now BIGINT)
RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(lock);
    INSERT INTO used_steps AS used (user_name, device, step, keep_until) VALUES (name, used_device, used_step, keep)
        ON CONFLICT (user_name, device) DO UPDATE SET step = excluded.step,
            keep_until = greatest(excluded.keep_until, used.keep_until)
        WHERE used.step < excluded.step OR used.keep_until <= now;
    IF NOT FOUND THEN
        RETURN FALSE;
    END IF;
    PERFORM succeed(name, 1);
    RETURN TRUE;
END
$$;
