"""Checks a zip of documentation once, from its first to its last byte, before it is kept.

It is never extracted: `zip_places` finds and unpacks single pages of it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import MIB, ArchiveLimits, Budget
from pkgindex_core.formats.archives.decompressors import DEFLATED, STORED
from pkgindex_core.formats.archives.member_names import check_tree
from pkgindex_core.formats.archives.zip_contents import DamagedError, method_problem, unpack
from pkgindex_core.formats.archives.zip_framing import is_also_tar, read_members
from pkgindex_core.formats.upload_rules import Findings

DOCUMENTATION_LIMITS = ArchiveLimits(
    uncompressed_bytes=4096 * MIB, members=50_000, directory_bytes=16 * MIB, seconds=300.0
)
KIND: Final = "doczip"
"""The kind of attachments that are documentation."""
FRONT_PAGE = "index.html"
HINT = "zip the directory that has index.html in it with a standard tool, without links and without encryption"


class DocumentationFacts(Struct, frozen=True, kw_only=True):
    """The contents of a valid zip of documentation."""

    pages: int
    """Files of any kind."""
    uncompressed_bytes: int
    warnings: tuple[str, ...] = ()


def inspect_documentation(
    path: Path, limits: ArchiveLimits = DOCUMENTATION_LIMITS, *, clock: Clock | None = None
) -> DocumentationFacts:
    """Read a zip of documentation from its first to its last byte; refuse it if anything is wrong.

    Blocks: run it in a worker thread. An `OSError` means that the file could not be read, not that it is bad.
    """
    budget = Budget(limits, clock or SystemClock())
    findings = Findings()
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if is_also_tar(file):
            raise Refused("the documentation is a tar archive, not a zip", hint=HINT)
        try:
            members = read_members(file, size, limits, budget, findings, descriptors=True)
        except Refused as error:
            raise Refused(error.problems, hint=HINT) from error
        files = [member.name for member in members if not member.is_directory]
        check_tree(files, [member.name[:-1] for member in members if member.is_directory], findings)
        if not files:
            findings.refuse("the zip has no files")
        if FRONT_PAGE not in files:
            findings.warn(f"the documentation has no {FRONT_PAGE} at its top: its own URL shows nothing")
        for member in members:
            if member.method not in {STORED, DEFLATED}:
                findings.refuse(method_problem(member))
                continue
            try:
                for _ in unpack(file, member, budget):
                    pass
            except DamagedError as damage:
                findings.refuse(str(damage))
    findings.raise_problems(HINT)
    return DocumentationFacts(
        pages=len(files), uncompressed_bytes=sum(member.size for member in members), warnings=findings.warnings
    )
