-- The schema of embedded storage. Moments are Unix milliseconds.

CREATE TABLE links (
    key        INTEGER PRIMARY KEY, -- appended to: keys are drawn in sequence, the code hides the order
    owner_id   INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    url        TEXT,                -- NULL once deleted: the row stays as a tombstone, so the key is never given again
    expires_at INTEGER,
    max_visits INTEGER,
    visits     INTEGER,             -- counted only while there is a limit
    alias      TEXT,                -- only where the alias isn't a key itself
    title      TEXT,
    tags       TEXT                 -- a JSON array
) STRICT;

-- Lists: an owner's live links, newest first.
CREATE INDEX links_by_owner ON links (owner_id, created_at, key) WHERE url IS NOT NULL;

-- Reuse: a row exactly while its link is live and plain. `url_hash` is half a SHA-256; the URL is compared as well.
CREATE TABLE targets (
    owner_id INTEGER NOT NULL,
    url_hash BLOB NOT NULL,
    key      INTEGER NOT NULL,
    PRIMARY KEY (owner_id, url_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    key   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE link_tags (
    owner_id   INTEGER NOT NULL,
    tag        TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    key        INTEGER NOT NULL,
    PRIMARY KEY (owner_id, tag, created_at, key)
) STRICT, WITHOUT ROWID;

-- Kept for 24 hours.
CREATE TABLE idempotency (
    owner_id        INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash    BLOB NOT NULL,
    link_key        INTEGER NOT NULL,
    created         INTEGER NOT NULL, -- 1: the request created the link, 0: it reused one
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (owner_id, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE owners (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO owners (id, name) VALUES (0, 'anonymous'), (1, 'admin');

CREATE TABLE api_keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id   INTEGER NOT NULL REFERENCES owners (id),
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE, -- SHA-256 of the key, which itself is never stored
    scopes     INTEGER NOT NULL,     -- bits: 1 links:read, 2 links:write, 4 ids, 8 admin
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

-- Which source issues a lane's keys, and how far it has got: what makes a lost or foreign source impossible to miss.
CREATE TABLE lanes (
    lane   INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    mark   INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
