"""What services of any kind work with: values kept in bounds, work done once for all who want it, commits tried again.

Nothing here knows an index, a project or a file.
"""
