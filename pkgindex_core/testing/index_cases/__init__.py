"""The cases of `testing.index_store`, one module a subject; subclass the contract there, not these."""
