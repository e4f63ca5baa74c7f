//! Counting clicks: collected in memory, carried by a Redis stream, counted once in the database.
