"""Closed under dependencies: everything that an installer could need for some projects, for given Pythons and platforms."""
