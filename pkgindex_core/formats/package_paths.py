"""A file's path in PyPI's layout: `packages/{2 digits}/{2 digits}/{60 digits}/{filename}`.

PyPI's digits are those of the file's blake2b-256. A mirrored file keeps its path at the upstream, so a mirror of this index has the
same tree as a mirror of PyPI. Other files have the digits of their sha256 in the same form.
"""

from __future__ import annotations

import re

from pkgindex_core.models import File

_UPSTREAM = re.compile(r"/(packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60})/[^/]+\Z")
_HEX_256 = re.compile(r"[0-9a-f]{64}\Z")


def package_directory(file: File) -> str | None:
    """The path without the filename; None when the file's sha256 is not known and its upstream has another layout."""
    upstream = _UPSTREAM.search(file.url)
    if upstream:
        return upstream[1]
    return _spread(file.sha256) if file.sha256 else None


def package_directories(file: File) -> frozenset[str]:
    """Every directory that names the file: the one of `package_directory`, and one for each known digest of 256 bits."""
    spread = {_spread(digest) for digest in file.digests.values() if _HEX_256.match(digest)}
    own = package_directory(file)
    return frozenset(spread | {own} if own else spread)


def _spread(digest: str) -> str:
    return f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}"
