-- The bytes of the live hosted files of each project, and under the project '' those of the whole index. Triggers count them, so that a server of
-- an earlier version that runs meanwhile counts too. The size is the number behind "size": in the JSON of a fragment, in which the text "size":
-- is never part of a string, because its quotes would be escaped there.
CREATE TABLE sizes (
    index_name text COLLATE "C" NOT NULL REFERENCES indexes (name),
    project    text COLLATE "C" NOT NULL,
    bytes      bigint NOT NULL,
    PRIMARY KEY (index_name, project)
);
CREATE FUNCTION size_of(fragment bytea) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((substring(convert_from(fragment, 'UTF8') FROM '"size":([0-9]+)'))::bigint, 0)
$$;
CREATE FUNCTION count_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sizes AS s SELECT NEW.index_name, project, size_of(NEW.fragment) FROM (VALUES (NEW.project), ('')) AS of (project)
        ON CONFLICT (index_name, project) DO UPDATE SET bytes = s.bytes + excluded.bytes;
    RETURN NULL;
END
$$;
CREATE FUNCTION discount_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sizes SET bytes = bytes - size_of(OLD.fragment) WHERE index_name = OLD.index_name AND project IN (OLD.project, '');
    RETURN NULL;
END
$$;
CREATE TRIGGER file_begins AFTER INSERT ON files FOR EACH ROW
    WHEN (NEW.died = 9223372036854775807 AND NOT NEW.mirrored) EXECUTE FUNCTION count_file();
CREATE TRIGGER file_ends AFTER UPDATE OF died ON files FOR EACH ROW
    WHEN (OLD.died = 9223372036854775807 AND NOT OLD.mirrored) EXECUTE FUNCTION discount_file();
INSERT INTO sizes SELECT index_name, project, sum(size_of(fragment)) FROM files
    WHERE died = 9223372036854775807 AND NOT mirrored GROUP BY index_name, project;
INSERT INTO sizes SELECT index_name, '', sum(bytes) FROM sizes GROUP BY index_name;
