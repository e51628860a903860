"""RECORD: the list of a wheel's files with their hashes (PEP 376, "RECORD"; PEP 427, "The .dist-info directory")."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping

from msgspec import Struct

from pkgindex_core.formats.archives.bounds import ArchiveLimits
from pkgindex_core.formats.archives.member_names import shown
from pkgindex_core.formats.upload_rules import Findings

# PEP 427: sha256 or better. MD5 and SHA-1 are not permitted.
ALGORITHMS = frozenset({"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s"})

_SIZE = re.compile(r"[0-9]{1,19}")
_DIGEST = re.compile(r"[A-Za-z0-9_-]+")


class Row(Struct, frozen=True, gc=False):
    """One line of RECORD."""

    algorithm: str
    """Empty: the line has no hash."""
    digest: str
    """URL-safe base64 without padding."""
    size: int | None


def parse_record(data: bytes, limits: ArchiveLimits, findings: Findings) -> dict[str, Row] | None:
    """Read RECORD: rows by path. None when it cannot be read at all."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        findings.refuse("RECORD is not UTF-8")
        return None
    rows: dict[str, Row] = {}
    try:
        for count, line in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True)):
            if count > 2 * limits.members:
                findings.refuse(f"RECORD has more than {2 * limits.members} lines")
                return None
            if not line:
                continue
            if len(line) != 3:
                findings.refuse(f"RECORD has a line of {len(line)} fields instead of 3: {shown(','.join(line))}")
                continue
            path, hashed, size = line
            if path in rows:
                findings.refuse(f"RECORD lists {shown(path)} twice")
            rows[path] = _row(path, hashed, size, findings)
    except csv.Error:
        findings.refuse("RECORD is not a comma-separated table")
        return None
    return rows


def compare_names(rows: Mapping[str, Row], files: Collection[str], record: str, findings: Findings) -> None:
    """Compare RECORD's paths with those of the archive. Signatures may be in one of them only (PEP 427)."""
    exempt = {f"{record}.jws", f"{record}.p7s"}
    unlisted = sorted(set(files) - set(rows) - exempt)
    absent = sorted(set(rows) - set(files) - exempt)
    if unlisted:
        findings.refuse(f"RECORD does not list {_some(unlisted)}")
    if absent:
        findings.refuse(f"RECORD lists {_some(absent)}, which the wheel does not have")
    for path, row in rows.items():
        if path != record and path not in exempt and not row.algorithm:
            findings.refuse(f"RECORD has no usable hash for {shown(path)}")


def _row(path: str, hashed: str, size: str, findings: Findings) -> Row:
    algorithm, equals, digest = hashed.partition("=")
    digest = digest.rstrip("=")
    if hashed and (not equals or algorithm not in ALGORITHMS or not _DIGEST.fullmatch(digest)):
        findings.refuse(f"RECORD has a malformed or weak hash for {shown(path)}: {shown(hashed)}")
        algorithm = digest = ""
    if size and not _SIZE.fullmatch(size):
        findings.refuse(f"RECORD has a malformed size for {shown(path)}: {shown(size)}")
        size = ""
    return Row(algorithm, digest, int(size) if size else None)


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(shown(path) for path in paths[:5]) + more
