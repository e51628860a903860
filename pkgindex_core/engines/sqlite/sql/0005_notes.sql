-- What is durable and has no history (see protocols/notes.py). `until` is 9223372036854775807 for what never ends. A note that is written again is a new
-- row: AUTOINCREMENT never gives a version twice, also not that of a row that is gone.
CREATE TABLE notes (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL,
    until   INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX notes_by_end ON notes (until);
