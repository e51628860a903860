"""The cases of `testing.sources`, one module a subject. Subclass the contract there, not these classes."""
