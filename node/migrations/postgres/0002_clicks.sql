-- Clicks: how often links were followed. Days are counted from 1970-01-01, UTC.
--
-- No column that changes is indexed, and pages keep some room: most counts are raised within their page (HOT), without
-- touching an index; in a run over 20,000 links two of three were.

CREATE TABLE click_totals (
    key    BIGINT PRIMARY KEY,
    clicks BIGINT NOT NULL
) WITH (fillfactor = 90);

-- Days without a click have no row.
CREATE TABLE click_days (
    key    BIGINT NOT NULL,
    clicks BIGINT NOT NULL,
    day    INTEGER NOT NULL,
    PRIMARY KEY (key, day)
) WITH (fillfactor = 90);

-- Which chunks of clicks were counted, so that each counts once: 64 numbers of one process in a row, a bit for each.
-- Kept for 7 days after the last of them. To be distributed by `process`.
CREATE TABLE click_chunks (
    process UUID NOT NULL,
    span    BIGINT NOT NULL, -- the chunks' numbers, divided by 64
    seen    BIGINT NOT NULL,
    fresh   BIGINT NOT NULL, -- the bits that the last change added: whoever made it counts those chunks
    at      BIGINT NOT NULL,
    PRIMARY KEY (process, span)
) WITH (fillfactor = 70);
