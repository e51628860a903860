"""Directories of wheels and sdists as indexes: `source` is the `Source`.

making           makes the source at the first question
roots            the option: which directories and URLs; only indexes of `root` have it
root             the role of a root
local_root       a directory: watched with inotify, or checked every few seconds where inotify does not work (inotify, file_systems, walking)
remote_root      any fsspec URL
listing          the files in a root, by name
journal          digests of files that were read: a restart does not read them again
reading          digest and metadata of a file, and whether it is whole
settling         makes the stored files of a project equal to the files in the roots
directory_index  one index, and which of its projects are settled (stored as in the roots)
files, placing   bytes of files in roots; uploads into roots and deletions from them
"""
