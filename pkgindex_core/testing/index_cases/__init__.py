"""The cases of `testing.index_store`, one module a subject. Subclass the contracts there, not these classes."""
