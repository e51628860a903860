"""Handlers of the URLs that every server has. Each module answers one kind of resource."""
