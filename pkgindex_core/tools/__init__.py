"""Tools for services of any kind: bounded caches, currency of answers, single flights, background tasks, commits that are tried again.

Nothing here knows what an index, a project or a file is; `currency` knows their names.
"""
