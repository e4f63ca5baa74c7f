-- Clicks: how often links were followed. Days are counted from 1970-01-01, UTC.

CREATE TABLE click_totals (
    key    INTEGER PRIMARY KEY,
    clicks INTEGER NOT NULL
) STRICT;

-- Days without a click have no row.
CREATE TABLE click_days (
    key    INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    clicks INTEGER NOT NULL,
    PRIMARY KEY (key, day)
) STRICT, WITHOUT ROWID;

-- Which chunks of clicks were counted, so that each counts once: 64 numbers of one process in a row, a bit for each.
-- Kept for 7 days after the last of them.
CREATE TABLE click_chunks (
    process BLOB NOT NULL,
    span    INTEGER NOT NULL, -- the chunks' numbers, divided by 64
    seen    INTEGER NOT NULL,
    fresh   INTEGER NOT NULL, -- the bits that the last change added: whoever made it counts those chunks
    at      INTEGER NOT NULL,
    PRIMARY KEY (process, span)
) STRICT, WITHOUT ROWID;
