"""Reading uploaded archives without ever unpacking them to disk."""

from pkgindex_core.formats.archives.bounds import ArchiveLimits, Inspection
from pkgindex_core.formats.archives.inspecting import inspect_archive

__all__ = ["ArchiveLimits", "Inspection", "inspect_archive"]
