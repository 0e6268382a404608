-- What a site signs for its pages, and the recovery codes that a page shows until it expires. Older servers ignore it.

-- The address for a link that ends the pairing of a lost phone.
ALTER TABLE web_sessions ADD COLUMN reset_email TEXT;
ALTER TABLE web_sessions ADD COLUMN theme TEXT CHECK (theme IN ('light', 'dark'));
ALTER TABLE web_sessions ADD COLUMN sealed_codes BLOB;

-- The pairing that the codes came with, which end with it. NULL for those that a site has created for its user.
ALTER TABLE recovery_codes ADD COLUMN pairing_id TEXT;
