"""Bundles: signed archives of what changed in a mirror, for a network that has no connection."""
