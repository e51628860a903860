"""Benchmarks: how fast the server is, beside the servers that people use today. See README.md."""
