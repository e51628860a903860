"""Checks any package index by the rows of the standards, and says what each failure means for those who install and publish.

    subject (an index, a project, its pages and one file)  ->  rows, each asked and judged  ->  report

Without `--upload` nothing but GET, HEAD and OPTIONS is sent. Requests, bytes and time are bounded.
"""
