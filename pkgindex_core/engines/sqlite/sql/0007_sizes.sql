-- The bytes of the live files of each project, and under the project '' those of the whole index. Triggers count them, so that a server of an
-- earlier version that runs meanwhile counts too. The size is the number behind "size": in the JSON of a fragment, in which the text "size":
-- is never part of a string, because its quotes would be escaped there.
CREATE TABLE sizes (
    index_id INTEGER NOT NULL REFERENCES index_names (id),
    project  TEXT NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (index_id, project)
) STRICT, WITHOUT ROWID;
INSERT INTO sizes SELECT index_id, project, sum(coalesce(CAST(CAST(substr(files.fragment, nullif(instr(files.fragment, CAST('"size":' AS BLOB)), 0) + 7, 20) AS TEXT) AS INTEGER), 0))
    FROM files WHERE died = 9223372036854775807 GROUP BY index_id, project;
INSERT INTO sizes SELECT index_id, '', sum(bytes) FROM sizes GROUP BY index_id;
CREATE TRIGGER file_begins AFTER INSERT ON files WHEN NEW.died = 9223372036854775807
BEGIN
    INSERT INTO sizes VALUES (NEW.index_id, NEW.project, 0), (NEW.index_id, '', 0) ON CONFLICT DO NOTHING;
    UPDATE sizes SET bytes = bytes + coalesce(CAST(CAST(substr(NEW.fragment, nullif(instr(NEW.fragment, CAST('"size":' AS BLOB)), 0) + 7, 20) AS TEXT) AS INTEGER), 0)
        WHERE index_id = NEW.index_id AND project IN (NEW.project, '');
END;
CREATE TRIGGER file_ends AFTER UPDATE OF died ON files WHEN OLD.died = 9223372036854775807
BEGIN
    UPDATE sizes SET bytes = bytes - coalesce(CAST(CAST(substr(OLD.fragment, nullif(instr(OLD.fragment, CAST('"size":' AS BLOB)), 0) + 7, 20) AS TEXT) AS INTEGER), 0)
        WHERE index_id = OLD.index_id AND project IN (OLD.project, '');
END;
