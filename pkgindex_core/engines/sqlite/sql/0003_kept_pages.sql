-- A mirrored page of ordinary size is kept in one piece (see formats/kept_pages.py): its files stand here in the place of segments.
-- `content` of a standing names what such a page says, its head included; empty: the files are in segments.
CREATE TABLE kept_pages (
    id       INTEGER PRIMARY KEY,
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    project  TEXT NOT NULL,
    kept     BLOB NOT NULL,
    UNIQUE (index_id, project)
) STRICT;
ALTER TABLE standings ADD COLUMN content TEXT NOT NULL DEFAULT '';
