-- What is kept of a hosted project beside its files. Rows live and die as those of `files`; none of them has a say in a
-- page, so a project's standing does not notice.

-- The metadata of each version. `body` is a msgpack Release, zstd-compressed when `packed` is 1.
CREATE TABLE releases (
    id       INTEGER PRIMARY KEY,
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    project  TEXT NOT NULL,
    version  TEXT NOT NULL,
    born     INTEGER NOT NULL,
    died     INTEGER NOT NULL,
    packed   INTEGER NOT NULL,
    body     BLOB NOT NULL,
    UNIQUE (index_id, project, version, died)
) STRICT;

-- Documentation and test results. `about` is the file that was tested, empty for documentation.
CREATE TABLE attachments (
    id       INTEGER PRIMARY KEY,
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    project  TEXT NOT NULL,
    filename TEXT NOT NULL,
    about    TEXT NOT NULL,
    born     INTEGER NOT NULL,
    died     INTEGER NOT NULL,
    sha256   BLOB NOT NULL,
    body     BLOB NOT NULL,
    UNIQUE (index_id, project, filename, died)
) STRICT;
CREATE INDEX attachments_by_name ON attachments (index_id, filename, died);
