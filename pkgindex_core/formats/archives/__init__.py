"""Reads uploaded archives without unpacking them to disk. `inspecting` is the entry point."""
