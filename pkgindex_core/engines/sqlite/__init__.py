"""The parts of the SQLite engine (`engines.sqlite_index` is its face).

database   opening a file: versions, settings, migrations; what SQLite's errors mean
readers    connections that read: one for the event loop's thread, a few in threads
queries    what is read, as plain functions of a connection
writer     the one thread that writes, and group commit
applying   what a change does to the tables
segments   how the files of mirrored projects are packed
"""
