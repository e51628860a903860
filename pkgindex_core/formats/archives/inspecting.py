"""The entry point of this package: inspects one archive.

Reads a local file, or one in memory, in bounded memory and time, and never writes. For all input the outcome is an `Inspection`, or a
`Refused` that names every problem found.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.formats.archives.bounds import DEFAULT_LIMITS, MIB, ArchiveLimits, Budget, Inspection
from pkgindex_core.formats.archives.closed_files import inspect_closed, is_closed
from pkgindex_core.formats.archives.eggs import inspect_egg
from pkgindex_core.formats.archives.sdists import inspect_sdist
from pkgindex_core.formats.archives.wheels import inspect_wheel
from pkgindex_core.formats.filenames import UploadKind, UploadName
from pkgindex_core.formats.upload_rules import PYPI, Findings, UploadRules

_READ_WHOLE = MIB
"""Archives up to this many bytes are read into memory at once, so that seeks are free. Most wheels are that small."""


def inspect_archive(
    archive: Path | BinaryIO,
    name: UploadName,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    *,
    rules: UploadRules = PYPI,
    clock: Clock | None = None,
) -> Inspection:
    """Inspect a file with the filename `name`, and close it. Raises `Refused` if anything is wrong.

    Blocks: run it in a worker thread. An `OSError` means that the file could not be read, not that it is bad.
    """
    budget = Budget(limits, clock or SystemClock())
    findings = Findings(rules)
    with archive.open("rb") if isinstance(archive, Path) else archive as opened:
        size = opened.seek(0, io.SEEK_END)
        opened.seek(0)
        is_copied = size <= _READ_WHOLE and not isinstance(opened, io.BytesIO)
        file: BinaryIO = io.BytesIO(opened.read()) if is_copied else opened
        if is_closed(name):
            return inspect_closed(file, size, name, findings)
        return _OPENED[name.kind](file, size, name, limits, budget, findings)


_OPENED: Mapping[UploadKind, Callable[..., Inspection]] = {
    "wheel": inspect_wheel,
    "egg": inspect_egg,
    "sdist": inspect_sdist,
    "dumb": inspect_sdist,
}
