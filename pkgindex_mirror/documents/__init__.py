"""Readers of the documents of upstreams: pages of projects, lists of names, and the parts of archives. They do no I/O."""
