"""Reading single fields of an upstream's entry, for JSON and for HTML. Pure.

A value that cannot be used is left out; the entry and the page are read all the same.
"""

from __future__ import annotations

from typing import Any

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.digests import Sha256, clean_digests, parse_sha256
from pkgindex_mirror import urls

FILENAME_LIMIT = 255
TEXT_LIMIT = 4096
_SIZE_LIMIT = 2**63
_TIME_LIMIT = Timestamp(253_402_207_200_000_000)
"""9999-12-30T22:00Z in microseconds: uv refuses the whole page for a later time."""
_NOTES_LIMIT = 20


class ReadingRemarks:
    """Collects sentences about what was left out. Keeps the first 20 and counts the others, so that the log stays short."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def add(self, line: str) -> None:
        self._count += 1
        if self._count <= _NOTES_LIMIT:
            self._lines.append(line)

    def lines(self) -> tuple[str, ...]:
        """The sentences, and the number of those that were not kept."""
        more = self._count - len(self._lines)
        return (*self._lines, *([f"and {more} more"] if more else []))


def filename_problem(filename: object) -> str:
    """Why a filename cannot be served or stored; empty when it can."""
    if not isinstance(filename, str) or not filename:
        return "it has no filename"
    if len(filename) > FILENAME_LIMIT or len(filename.encode("utf-8", "replace")) > FILENAME_LIMIT:
        return f"the filename {filename[:40]!r}… is longer than {FILENAME_LIMIT} bytes"
    # isprintable also refuses lone surrogates and every kind of control and separator except the blank.
    if "/" in filename or "\\" in filename or not filename.isprintable() or filename[0] in ". " or filename[-1] == " ":
        return f"the filename {filename!r} has a slash, a control character, or a dot or blank at an end"
    return ""


def core_metadata(value: Any, filename: str) -> tuple[Sha256 | None, bool]:
    """The digest of the sidecar, and whether a sidecar without digest is offered. Wheels always offer one: the mirror can read it from the wheel."""
    if isinstance(value, dict):
        digest = value.get("sha256")
        sha256 = parse_sha256(digest) if isinstance(digest, str) else None
        return sha256, sha256 is None
    return None, value is True or filename.lower().endswith(".whl")


def digests(hashes: Any) -> dict[str, str]:
    if not isinstance(hashes, dict):
        return {}
    digest = hashes.get("sha256")
    if len(hashes) == 1 and isinstance(digest, str):  # the usual form
        sha256 = parse_sha256(digest)
        return {"sha256": sha256} if sha256 else {}
    return clean_digests(hashes)


def size(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < _SIZE_LIMIT else None


def upload_time(value: Any) -> Timestamp | None:
    moment = from_rfc3339(value) if isinstance(value, str) else None
    return None if moment is None or moment >= _TIME_LIMIT else moment


def gpg_sig(value: Any) -> bool | None:
    """False stays False. True becomes None, since it would promise `<file>.asc` (PEP 503), which mirrors do not serve."""
    return False if value is False else None


def provenance(value: Any) -> str:
    """An absolute https URL (PEP 740), or empty."""
    if isinstance(value, str) and value.lower().startswith("https://"):
        return urls.cleaned(value) or ""
    return ""


def text(value: Any) -> str:
    """A string that can be stored and shown: without lone surrogates and control characters, at most `TEXT_LIMIT` characters."""
    if not isinstance(value, str):
        return ""
    if value.isprintable():
        return value[:TEXT_LIMIT].strip()
    readable = value.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in readable[:TEXT_LIMIT]).strip()
