"""The SQLite engine of the index store.

index      the store itself, made of the parts below
database   opening a file: versions, settings, migrations; translating SQLite's errors
readers    connections that read: one for the event loop's thread, a few in threads
queries    reads, as functions of a connection
writer     the one thread that writes, and group commit
applying   makes the commit of one list of changes
segments   how the files of mirrored projects are packed
sql/       the schema, as numbered migrations (`engines.migrations` reads them)
"""
