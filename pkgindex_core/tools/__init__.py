"""What services of any kind work with: values kept in bounds and while they are current, work done once for all who want it,
commits tried again.

Nothing here knows what an index, a project or a file is; `currency` knows their names.
"""
