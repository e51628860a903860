"""Files that are kept without reading them: installers for Windows, packages of operating systems, and `.tar.Z`.

No Python installer opens them, and neither does this server. Their first bytes must fit the ending of the filename. Name and
version are those of the filename.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import Inspection
from pkgindex_core.formats.filenames import UploadName
from pkgindex_core.formats.upload_rules import Findings

_BEGINNINGS: Final = {
    ".exe": (b"MZ", "a Windows program"),
    ".msi": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Windows installer package"),
    ".rpm": (b"\xed\xab\xee\xdb", "an RPM"),
    ".deb": (b"!<arch>\n", "a Debian package"),
    ".dmg": (b"", "a disk image"),
    ".z": (b"\x1f\x9d", "a file of the program compress"),
}
"""The first bytes by the ending of the filename. A disk image may begin with anything."""


def is_closed(name: UploadName) -> bool:
    """Whether a file of this name is not read."""
    return name.filename.lower().endswith(tuple(_BEGINNINGS))


def inspect_closed(file: BinaryIO, size: int, name: UploadName, findings: Findings) -> Inspection:
    """Check the first bytes."""
    ending = next(ending for ending in _BEGINNINGS if name.filename.lower().endswith(ending))
    begin, what = _BEGINNINGS[ending]
    if not size or file.read(len(begin)) != begin:
        raise Refused(
            f"the file is not {what}, as its name says", hint="upload it under the name that it was built with"
        )
    findings.warn(f"{name.filename!r} is kept unread; name and version are those of its filename")
    return Inspection(
        metadata=None, warnings=findings.warnings, names=frozenset(), license_root="", uncompressed_bytes=size
    )
