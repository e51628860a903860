-- A mirrored page in one piece stands here once, under the sha256 of its bytes. Standings point at it, and so does the log, which has the
-- digest in the place of the bytes. `uses` counts the standings that point at a page; the last one takes it along. It is null when the log
-- names the page, which then stays. The connection that migrates knows sha256().
CREATE TABLE pages (
    id     INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    uses   INTEGER,
    kept   BLOB NOT NULL
) STRICT;
-- Pages keep their numbers. Of pages that are equal the first one stays, and is found by its digest below.
INSERT INTO pages (id, digest, uses, kept) SELECT id, sha256(kept), 1, kept FROM kept_pages WHERE true ON CONFLICT (digest) DO NOTHING;

-- `page` is the number in `pages`, 0 when the files are in segments. The rows of a mirrored page share `since`, and their lives follow on
-- each other: the one that lives is the page, the others are its past. `born` of the oldest is `since`: it answers for what is gone.
ALTER TABLE standings RENAME COLUMN kept TO page;
ALTER TABLE standings ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
UPDATE standings SET
    since = born,
    -- What an index was a mirror of, before it was made again as another type, is nothing's past.
    mirrored = mirrored AND died = 9223372036854775807,
    page = CASE WHEN page THEN coalesce(
        (SELECT pages.id FROM pages JOIN kept_pages USING (id)
            WHERE kept_pages.index_id = standings.index_id AND kept_pages.project = standings.project),
        (SELECT pages.id FROM pages JOIN kept_pages ON digest = sha256(kept_pages.kept)
            WHERE kept_pages.index_id = standings.index_id AND kept_pages.project = standings.project),
        -1) ELSE 0 END;
UPDATE pages SET uses = several.uses
    FROM (SELECT page, count(*) AS uses FROM standings WHERE page > 0 GROUP BY page HAVING count(*) > 1) AS several
    WHERE pages.id = several.page;
DROP TABLE kept_pages;
CREATE INDEX standings_past ON standings (index_id, died, project) WHERE mirrored AND died < 9223372036854775807;

-- `born` says since when a segment is as it is. What a segment was before stays in past_segments while a standing of the past needs it.
ALTER TABLE segments ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
CREATE TABLE past_segments (
    id       INTEGER PRIMARY KEY,
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    project  TEXT NOT NULL,
    died     INTEGER NOT NULL,
    born     INTEGER NOT NULL,
    low      TEXT NOT NULL,
    rows     BLOB NOT NULL
) STRICT;
CREATE INDEX past_segments_by_project ON past_segments (index_id, project, died);
-- A stray of the past has died, and goes with it.
ALTER TABLE strays ADD COLUMN died INTEGER NOT NULL DEFAULT 9223372036854775807;

-- Whether a MirrorPage of `changes` has the digest of its page in `kept`, and not the page.
ALTER TABLE commits ADD COLUMN by_digest INTEGER NOT NULL DEFAULT 0;
