"""Keeps the book of advisories up to date from a feed."""
