-- The first schema. Serials are commit numbers; a row is true in [born, died), and `died` is 9223372036854775807 while it lives, so that "now"
-- and "as of serial N" are one condition: born <= N AND died > N. Texts are ordered by code points, whatever the database's own order is.
-- Values that only Python reads (configurations, heads, files) are msgpack; what SQL looks at has a column.

-- The last commit, in one row. A commit changes it first, so commits follow each other, and an outdated one changes nothing.
CREATE TABLE head (
    serial bigint NOT NULL,
    at     bigint NOT NULL
);
INSERT INTO head VALUES (0, 0);

-- What happened. `changes` is a msgpack list of changes, zstd-compressed if `packed`; if `by_digest`, a MirrorPage has the digest of its page
-- in `kept` (see `pages`). `token` is random: by it a server knows its own commit if the answer was lost.
CREATE TABLE commits (
    serial    bigint PRIMARY KEY,
    at        bigint NOT NULL,
    who       text COLLATE "C" NOT NULL,
    token     text COLLATE "C" NOT NULL,
    packed    boolean NOT NULL,
    by_digest boolean NOT NULL,
    changes   bytea NOT NULL
);
ALTER TABLE commits ALTER COLUMN changes SET STORAGE EXTERNAL;
CREATE INDEX commits_by_time ON commits (at, serial);

CREATE TABLE users (
    name text COLLATE "C" NOT NULL,
    died bigint NOT NULL,
    born bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (name, died)
);

-- Tokens have no past.
CREATE TABLE tokens (
    id      text COLLATE "C" PRIMARY KEY,
    owner   text COLLATE "C" NOT NULL,
    created bigint NOT NULL,
    body    bytea NOT NULL
);
CREATE INDEX tokens_by_owner ON tokens (owner, created, id);

-- Every index name that was ever used.
CREATE TABLE indexes (
    name          text COLLATE "C" PRIMARY KEY,
    project_count bigint NOT NULL DEFAULT 0
);

-- `history`: the seconds for which a mirror keeps the past of its pages. `kept_since`: the moment since which it keeps it for snapshots.
CREATE TABLE configs (
    index_name text COLLATE "C" NOT NULL REFERENCES indexes (name),
    died       bigint NOT NULL,
    born       bigint NOT NULL,
    mirrored   boolean NOT NULL,
    history    bigint NOT NULL,
    kept_since bigint NOT NULL,
    body       bytea NOT NULL,
    PRIMARY KEY (index_name, died)
);

-- The serials that changed any configuration.
CREATE TABLE tree_changes (
    serial bigint PRIMARY KEY
);

-- A mirrored page in one piece, under the sha256 of its bytes. Standings point at it, and so does the log, which has the digest in the place
-- of the bytes. A page that the log names is never dropped; the others go with the last standing.
CREATE TABLE pages (
    digest bytea PRIMARY KEY,
    logged boolean NOT NULL,
    kept   bytea NOT NULL
);
ALTER TABLE pages ALTER COLUMN kept SET STORAGE EXTERNAL;
-- Pages at which a commit has stopped pointing. Empty between commits.
CREATE TABLE loose_pages (
    digest bytea PRIMARY KEY
);

-- How an index stands to a project. A hosted one gets a new row with each change. The rows of a mirrored one share `since`, and their lives
-- follow on each other: the one that lives is the page, the others are its past; `born` of the oldest is `since`. `page` is null if the files are rows.
CREATE TABLE standings (
    index_name text COLLATE "C" NOT NULL REFERENCES indexes (name),
    project    text COLLATE "C" NOT NULL,
    died       bigint NOT NULL,
    born       bigint NOT NULL,
    since      bigint NOT NULL,
    stamp      bigint NOT NULL,
    mirrored   boolean NOT NULL,
    holds      boolean NOT NULL,
    file_count bigint NOT NULL,
    status     text COLLATE "C" NOT NULL,
    head       bytea NOT NULL,
    content    text COLLATE "C" NOT NULL,
    page       bytea,
    PRIMARY KEY (index_name, project, died)
);
CREATE INDEX standings_past ON standings (index_name, died, project) WHERE mirrored AND died < 9223372036854775807;
CREATE INDEX standings_by_page ON standings (page) WHERE page IS NOT NULL;

-- Files: those of hosted projects, and those of mirrored pages that are not in one piece. A mirrored row of the past is dropped with the last standing
-- that needs it.
CREATE TABLE files (
    index_name      text COLLATE "C" NOT NULL REFERENCES indexes (name),
    project         text COLLATE "C" NOT NULL,
    filename        text COLLATE "C" NOT NULL,
    died            bigint NOT NULL,
    born            bigint NOT NULL,
    mirrored        boolean NOT NULL,
    sha256          bytea,
    metadata_sha256 bytea,
    version         text COLLATE "C" NOT NULL,
    fragment        bytea NOT NULL,
    body            bytea NOT NULL,
    PRIMARY KEY (index_name, project, filename, died)
);
CREATE UNIQUE INDEX files_hosted ON files (index_name, filename, died) WHERE NOT mirrored;
CREATE INDEX files_mirrored ON files (index_name, filename) WHERE mirrored;

-- Names of files that were deleted from a hosted index stay taken.
CREATE TABLE tombstones (
    index_name text COLLATE "C" NOT NULL REFERENCES indexes (name),
    filename   text COLLATE "C" NOT NULL,
    project    text COLLATE "C" NOT NULL,
    sha256     bytea NOT NULL,
    PRIMARY KEY (index_name, filename)
);

-- Files of pages in one piece that cannot be found by the spelling of their name. A stray of the past has died, and goes with it.
CREATE TABLE strays (
    index_name text COLLATE "C" NOT NULL REFERENCES indexes (name),
    filename   text COLLATE "C" NOT NULL,
    project    text COLLATE "C" NOT NULL,
    died       bigint NOT NULL,
    PRIMARY KEY (index_name, filename, project)
);
CREATE INDEX strays_by_project ON strays (index_name, project);

-- The metadata of each version. `body` is a msgpack Release, zstd-compressed if `packed`.
CREATE TABLE releases (
    index_name text COLLATE "C" NOT NULL REFERENCES indexes (name),
    project    text COLLATE "C" NOT NULL,
    version    text COLLATE "C" NOT NULL,
    died       bigint NOT NULL,
    born       bigint NOT NULL,
    packed     boolean NOT NULL,
    body       bytea NOT NULL,
    PRIMARY KEY (index_name, project, version, died)
);
ALTER TABLE releases ALTER COLUMN body SET STORAGE EXTERNAL;

-- Documentation and test results. `about` is the file that was tested, empty for documentation.
CREATE TABLE attachments (
    index_name text COLLATE "C" NOT NULL REFERENCES indexes (name),
    project    text COLLATE "C" NOT NULL,
    filename   text COLLATE "C" NOT NULL,
    died       bigint NOT NULL,
    born       bigint NOT NULL,
    about      text COLLATE "C" NOT NULL,
    sha256     bytea NOT NULL,
    body       bytea NOT NULL,
    PRIMARY KEY (index_name, project, filename, died)
);
CREATE INDEX attachments_by_name ON attachments (index_name, filename, died);

-- A mirror's upstream project list. `display` is null if it equals the name.
CREATE TABLE listings (
    index_name text COLLATE "C" PRIMARY KEY REFERENCES indexes (name),
    stamp      bigint NOT NULL,
    count      bigint NOT NULL,
    validators bytea NOT NULL
);
CREATE TABLE listed_names (
    index_name text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    display    text COLLATE "C",
    PRIMARY KEY (index_name, name)
);

-- What is durable and has no history (see protocols/notes.py). `until` is 9223372036854775807 for what never ends. `token` is that of the call that wrote it.
CREATE TABLE notes (
    kind    text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   bytea NOT NULL,
    version bigint NOT NULL,
    until   bigint NOT NULL,
    token   text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX notes_by_end ON notes (until);
-- The last version of any note. A sequence would give versions out of order: the writer of a smaller one may be the later one.
CREATE TABLE note_versions (
    last bigint NOT NULL
);
INSERT INTO note_versions VALUES (0);

-- Runs the statements of a commit, each with its argument, if the last commit is still the one that the plan was made for, and the notes that the
-- plan looked at (`guards`) still have their versions. Otherwise does nothing and answers false. No note is written between this look and the end of the
-- transaction: each write takes its version from `note_versions`, and a removal waits for the row.
-- Every statement looks its rows up by their keys. The planner does not know how few they are, and would read small tables whole, again and
-- again while they grow.
CREATE FUNCTION commit_batch(expected bigint, upto bigint, moment bigint, guards jsonb, statements text[], arguments jsonb[]) RETURNS boolean
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM FROM head WHERE serial = expected FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF guards <> '[]' THEN
        PERFORM FROM note_versions FOR SHARE;
        PERFORM FROM jsonb_to_recordset(guards) AS g (kind text, key text) JOIN notes AS n USING (kind, key) FOR SHARE OF n;
        IF EXISTS (
            SELECT FROM jsonb_to_recordset(guards) AS g (kind text, key text, version bigint, now bigint)
            LEFT JOIN notes AS n ON n.kind = g.kind AND n.key = g.key AND n.until > g.now
            WHERE coalesce(n.version, 0) <> g.version
        ) THEN
            RETURN false;
        END IF;
    END IF;
    UPDATE head SET serial = upto, at = moment;
    FOR number IN 1 .. cardinality(statements) LOOP
        EXECUTE statements[number] USING arguments[number];
    END LOOP;
    RETURN true;
END
$$;

-- The same in a transaction that has locked the head. A note with another version is an error, so that the rest of the same round trip is not done.
CREATE FUNCTION commit_locked(expected bigint, upto bigint, moment bigint, guards jsonb, statements text[], arguments jsonb[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT commit_batch(expected, upto, moment, guards, statements, arguments) THEN
        RAISE EXCEPTION 'a note was written after it was read' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
