"""Directories served as pypiserver serves them: its URLs, its actions, its rights. On when `[plugins.pypiserver]` is configured."""
