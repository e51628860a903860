"""Reads and translates dumps of devpi."""
