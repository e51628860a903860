"""The SQLite engine of the index store.

index      the store itself, made of the parts below
database   opening a file: versions, settings, migrations; what SQLite's errors mean
readers    connections that read: one for the event loop's thread, a few in threads
queries    what is read, as plain functions of a connection
writer     the one thread that writes, and group commit
applying   what a change does to the tables
segments   how the files of mirrored projects are packed
sql/       the schema, as numbered migrations (`engines.migrations` reads them)
"""
