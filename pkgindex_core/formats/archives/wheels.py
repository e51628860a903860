"""Inspects wheels (PEP 427, "File contents").

Reads the framing once and the data once. RECORD is verified: its names must be the archive's names, and its hashes and sizes
those of the unpacked bytes, so that a wheel installs what RECORD says.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import BinaryIO

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives import entry_points, records
from pkgindex_core.formats.archives.bounds import MIB, ArchiveLimits, Budget, Inspection
from pkgindex_core.formats.archives.member_names import check_tree, shown
from pkgindex_core.formats.archives.wheel_file import check_wheel_file
from pkgindex_core.formats.archives.wheel_layout import INFO, runs_at_start
from pkgindex_core.formats.archives.zip_contents import DamagedError, check_methods, unpack, unpack_whole
from pkgindex_core.formats.archives.zip_framing import HINT, ZipMember, is_also_tar, read_members
from pkgindex_core.formats.filenames import UploadName
from pkgindex_core.formats.upload_rules import Findings, Unusual

_ENTRY_POINTS_BYTES = MIB  # configparser is slow, and the largest real file has some hundred lines
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})


def inspect_wheel(
    file: BinaryIO, size: int, name: UploadName, limits: ArchiveLimits, budget: Budget, findings: Findings
) -> Inspection:
    """Read a wheel from its first to its last byte."""
    if is_also_tar(file):
        raise Refused("the file is a tar archive, not a wheel", hint=HINT)
    members = read_members(file, size, limits, budget, findings)
    check_methods(members, findings)
    files = {member.name: member for member in members if not member.is_directory}
    check_tree(files, [member.name[:-1] for member in members if member.is_directory], findings)
    info = _find_info(files, name, findings)
    _check_places(files, name, findings)
    known = _read_info(file, files, info, limits, budget, findings)
    record = known.get("RECORD")
    rows = records.parse_record(record, limits, findings) if record is not None else None
    if rows is not None:
        records.compare_names(rows, files, f"{info}/RECORD", findings)
    _check_data(file, members, rows or {}, {f"{info}/{part}": data for part, data in known.items()}, budget, findings)
    if "WHEEL" in known:
        check_wheel_file(known["WHEEL"], name, findings)
    if "entry_points.txt" in known:
        entry_points.check_entry_points(known["entry_points.txt"], findings)
    findings.raise_problems(HINT)
    return Inspection(
        metadata=known["METADATA"],
        warnings=findings.warnings,
        names=frozenset(files),
        license_root=f"{info}/licenses/",
        uncompressed_bytes=sum(member.size for member in members),
    )


def _find_info(files: Mapping[str, ZipMember], name: UploadName, findings: Findings) -> str:
    """The `.dist-info` directory, spelled as in the filename (PEP 427: `{distribution}-{version}.dist-info`); the expected name when it is missing."""
    tops = {path.partition("/")[0] for path in files if "/" in path}
    found = sorted(top for top in tops if top.lower().endswith(INFO))
    expected = f"{name.stem}{INFO}"
    if len(found) > 1:
        findings.refuse(f"the wheel has several .dist-info directories: {', '.join(shown(top) for top in found[:5])}")
    elif found == [expected]:
        pass
    else:
        others = f"; it has {', '.join(shown(top) for top in found)}" if found else ""
        text = f"the wheel has no directory {shown(expected)}, which its filename requires{others}"
        if found and found[0].endswith(INFO) and name.is_spelled(found[0].removesuffix(INFO)):
            findings.unusual(Unusual.WHEEL_DIRECTORY, text)
            return found[0]
        findings.refuse(text)
    return expected


def _check_places(files: Mapping[str, ZipMember], name: UploadName, findings: Findings) -> None:
    """Warn about files in unusual places."""
    startup = []
    for path in files:
        top, slash, rest = path.partition("/")
        in_data = bool(slash) and top.endswith(".data")
        scheme = rest.partition("/")[0] if in_data else ""
        if in_data and (top != f"{name.stem}.data" or scheme not in _SCHEMES):
            findings.warn(f"{shown(path)} lies in a .data directory that installers do not know")
        if runs_at_start(path):
            startup.append(path)
    if startup:
        findings.warn(f"files that run at every start of Python: {', '.join(shown(path) for path in startup[:5])}")


def _read_info(
    file: BinaryIO, files: Mapping[str, ZipMember], info: str, limits: ArchiveLimits, budget: Budget, findings: Findings
) -> dict[str, bytes]:
    """Read the files of `.dist-info` that are inspected."""
    known = {}
    for part in ("METADATA", "WHEEL", "RECORD", "entry_points.txt"):
        member = files.get(f"{info}/{part}")
        if member is None:
            if part != "entry_points.txt":
                findings.refuse(f"the wheel has no {shown(f'{info}/{part}')}")
            continue
        most = limits.record_bytes if part == "RECORD" else limits.metadata_bytes
        if part == "entry_points.txt":
            most = min(most, _ENTRY_POINTS_BYTES)
        if member.size > most:
            findings.refuse(f"{part} has {member.size} bytes; the limit is {most}")
            continue
        try:
            known[part] = unpack_whole(file, member, budget)
        except DamagedError as damage:
            findings.refuse(str(damage))
    return known


def _check_data(
    file: BinaryIO,
    members: list[ZipMember],
    rows: Mapping[str, records.Row],
    known: Mapping[str, bytes],
    budget: Budget,
    findings: Findings,
) -> None:
    """Unpack every member once, in the order of the archive, and compare it with its row of RECORD. `known` members are unpacked already."""
    for member in members:
        row = rows.get(member.name)
        digest = hashlib.new(row.algorithm) if row is not None and row.algorithm else None
        try:
            for piece in (known[member.name],) if member.name in known else unpack(file, member, budget):
                if digest is not None:
                    digest.update(piece)
        except DamagedError as damage:
            findings.refuse(str(damage))
            continue
        if row is None:
            continue
        if row.size is not None and row.size != member.size:
            findings.refuse(f"RECORD says that {shown(member.name)} has {row.size} bytes; it has {member.size}")
        if digest is None or base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() == row.digest:
            continue
        if digest.hexdigest() == row.digest:
            findings.warn("RECORD has its hashes in hexadecimal digits; PEP 427 wants URL-safe base64")
        else:
            findings.refuse(f"RECORD has another {row.algorithm} for {shown(member.name)} than the file")
