"""Tools for services of any kind: bounded caches, currency of results, single flights, background tasks, repeated commits.

They know nothing of indexes, projects and files; `currency` knows their names.
"""
