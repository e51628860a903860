-- The first schema. Serials are commit numbers; a row is true in [born, died), and `died` is 9223372036854775807 while
-- it lives, so that "now" and "as of serial N" are one condition: born <= N AND died > N.
-- Values that only Python reads (configurations, heads, files) are msgpack; what SQL looks at has a column.

-- What happened. `changes` is a msgpack list of changes, zstd-compressed when `packed` is 1.
CREATE TABLE commits (
    serial  INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    packed  INTEGER NOT NULL,
    changes BLOB NOT NULL
) STRICT;
CREATE INDEX commits_by_time ON commits (at, serial);

CREATE TABLE users (
    name TEXT NOT NULL,
    died INTEGER NOT NULL,
    born INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (name, died)
) STRICT, WITHOUT ROWID;

-- Tokens have no past.
CREATE TABLE tokens (
    id      TEXT PRIMARY KEY NOT NULL,
    user    TEXT NOT NULL,
    created INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_user ON tokens (user, created, id);

-- Every index name that was ever used has a number, for good: rows stay short, and a reader may remember it.
CREATE TABLE index_names (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    project_count INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE configs (
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    died     INTEGER NOT NULL,
    born     INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (index_id, died)
) STRICT, WITHOUT ROWID;

-- The serials that changed any configuration.
CREATE TABLE tree_changes (
    serial INTEGER PRIMARY KEY
) STRICT;

-- How an index stands to a project. A hosted one gets a new row with each change (stamp = born). A mirrored one has no
-- past: its row is changed in place, `born` says since when the page was known.
CREATE TABLE standings (
    index_id   INTEGER NOT NULL REFERENCES index_names (id),
    project    TEXT NOT NULL,
    died       INTEGER NOT NULL,
    born       INTEGER NOT NULL,
    stamp      INTEGER NOT NULL,
    mirrored   INTEGER NOT NULL,
    holds      INTEGER NOT NULL,
    file_count INTEGER NOT NULL,
    status     TEXT NOT NULL,
    head       BLOB NOT NULL,
    PRIMARY KEY (index_id, project, died)
) STRICT, WITHOUT ROWID;

-- Files of hosted projects.
CREATE TABLE files (
    id              INTEGER PRIMARY KEY,
    index_id        INTEGER NOT NULL REFERENCES index_names (id),
    project         TEXT NOT NULL,
    filename        TEXT NOT NULL,
    born            INTEGER NOT NULL,
    died            INTEGER NOT NULL,
    sha256          BLOB NOT NULL,
    metadata_sha256 BLOB,
    version         TEXT NOT NULL,
    fragment        BLOB NOT NULL,
    body            BLOB NOT NULL,
    UNIQUE (index_id, filename, died)
) STRICT;
CREATE INDEX files_by_project ON files (index_id, project, died);

-- Names of files that were deleted from a hosted index stay taken.
CREATE TABLE tombstones (
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    filename TEXT NOT NULL,
    project  TEXT NOT NULL,
    sha256   BLOB NOT NULL,
    PRIMARY KEY (index_id, filename)
) STRICT, WITHOUT ROWID;

-- Files of mirrored projects, packed (see segments.py and the decision in pkgindex_core/DESIGN.md): all of a project's rows whose
-- filename is at least `low` and below the next segment's. The first segment's `low` is empty.
CREATE TABLE segments (
    id       INTEGER PRIMARY KEY,
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    project  TEXT NOT NULL,
    low      TEXT NOT NULL,
    rows     BLOB NOT NULL,
    UNIQUE (index_id, project, low)
) STRICT;

-- Mirrored files that cannot be found by the spelling of their name.
CREATE TABLE strays (
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    filename TEXT NOT NULL,
    project  TEXT NOT NULL,
    PRIMARY KEY (index_id, filename, project)
) STRICT, WITHOUT ROWID;
CREATE INDEX strays_by_project ON strays (index_id, project);

-- A mirror's upstream project list. `display` is null when it equals the name.
CREATE TABLE listings (
    index_id   INTEGER PRIMARY KEY REFERENCES index_names (id),
    stamp      INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    validators BLOB NOT NULL
) STRICT;
CREATE TABLE listed_names (
    index_id INTEGER NOT NULL,
    name     TEXT NOT NULL,
    display  TEXT,
    PRIMARY KEY (index_id, name)
) STRICT, WITHOUT ROWID;

-- Written when a commit has failed, to prove that the disk takes writes again (see writer.py).
CREATE TABLE medium (
    probes INTEGER NOT NULL
) STRICT;
INSERT INTO medium (probes) VALUES (0);
