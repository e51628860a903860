"""Snapshots: numbered, immutable states of a tree of files, and the names under which they are served."""
