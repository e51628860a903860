"""Follows another server of pkgindex: a replica has its commits, its files, and its answers about mirrored projects."""
