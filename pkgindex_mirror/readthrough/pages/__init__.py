"""Pages and name lists of a read-through index: when upstreams are asked, and what becomes of their answers."""
