-- A mirrored page keeps the stamp and the content name under which it was shown before it was committed (see changes.py), also one
-- whose files are in segments. `kept` says that they are in kept_pages.
ALTER TABLE standings ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
UPDATE standings SET kept = 1 WHERE content != '';
