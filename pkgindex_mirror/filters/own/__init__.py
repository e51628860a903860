"""Filters that bandersnatch does not have: fitting tags, times, sizes, licences and others."""
