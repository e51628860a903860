"""Inspects eggs: valid zips with an `EGG-INFO/PKG-INFO`.

Eggs are read as strictly as other zips, since `easy_install` may unpack them without checks.
"""

from __future__ import annotations

from typing import BinaryIO

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import ArchiveLimits, Budget, Inspection
from pkgindex_core.formats.archives.entry_points import check_entry_points
from pkgindex_core.formats.archives.member_names import check_tree
from pkgindex_core.formats.archives.zip_contents import DamagedError, check_methods, unpack, unpack_whole
from pkgindex_core.formats.archives.zip_framing import HINT, is_also_tar, read_members
from pkgindex_core.formats.filenames import UploadName
from pkgindex_core.formats.upload_rules import Findings

_METADATA = "EGG-INFO/PKG-INFO"
_SCRIPTS = "EGG-INFO/entry_points.txt"


def inspect_egg(
    file: BinaryIO, size: int, _name: UploadName, limits: ArchiveLimits, budget: Budget, findings: Findings
) -> Inspection:
    """Read an egg from its first to its last byte."""
    if is_also_tar(file):
        raise Refused("the file is a tar archive, not an egg", hint=HINT)
    members = read_members(file, size, limits, budget, findings, descriptors=True, script=True)
    file.seek(0)
    if file.read(2) == b"#!":
        # setuptools' bdist_egg writes a script for an entry point `eggsecutable`.
        findings.warn("the egg begins with a shell script")
    check_methods(members, findings)
    files = {member.name: member for member in members if not member.is_directory}
    check_tree(files, [member.name[:-1] for member in members if member.is_directory], findings)
    known: dict[str, bytes] = {}
    for member in members:
        try:
            if member.name in {_METADATA, _SCRIPTS} and member.size <= limits.metadata_bytes:
                known[member.name] = unpack_whole(file, member, budget)
                continue
            for _ in unpack(file, member, budget):
                pass
        except DamagedError as damage:
            findings.refuse(str(damage))
    if _METADATA not in known:
        findings.refuse(f"the egg has no {_METADATA}, or one of more than {limits.metadata_bytes} bytes")
    if _SCRIPTS in known:
        check_entry_points(known[_SCRIPTS], findings)
    findings.raise_problems(HINT)
    return Inspection(
        metadata=known[_METADATA],
        warnings=findings.warnings,
        names=frozenset(files),
        license_root="",
        uncompressed_bytes=sum(member.size for member in members),
    )
