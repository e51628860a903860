"""The door to this package: one archive in, what an index needs of it out.

Reads from a local path, in bounded memory and time, and never writes. Whatever the bytes are, the outcome is an
`Inspection` or a `Refused` that names every problem that could be found.
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
"""Bytes up to which an archive is read at once: most wheels are, and every seek is then free."""


def inspect_archive(
    path: Path,
    name: UploadName,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    *,
    rules: UploadRules = PYPI,
    clock: Clock | None = None,
) -> Inspection:
    """Read a file, which was or will be called `name`; refuse it if anything is wrong.

    Blocks: run it in a worker thread. An `OSError` means that the file could not be read, not that it is bad.
    """
    budget = Budget(limits, clock or SystemClock())
    findings = Findings(rules)
    with path.open("rb") as opened:
        size = opened.seek(0, io.SEEK_END)
        opened.seek(0)
        file: BinaryIO = io.BytesIO(opened.read()) if size <= _READ_WHOLE else opened
        if is_closed(name):
            return inspect_closed(file, size, name, findings)
        return _OPENED[name.kind](file, size, name, limits, budget, findings)


_OPENED: Mapping[UploadKind, Callable[..., Inspection]] = {
    "wheel": inspect_wheel,
    "egg": inspect_egg,
    "sdist": inspect_sdist,
    "dumb": inspect_sdist,
}
