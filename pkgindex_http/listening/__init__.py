"""Sockets, certificates and connections of a server, and the answers that a connection repeats."""
