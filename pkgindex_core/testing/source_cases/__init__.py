"""The cases of `testing.sources`, one module a subject; subclass the contract there, not these."""
