"""Digests: the names under which bytes are stored and compared.

Blobs are addressed by sha256 only. Digests of other algorithms are checked when an upload has them, and kept when an
upstream has no others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import NewType, Protocol

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits."""

_HEX64 = re.compile(r"\A[0-9a-f]{64}\Z")

HEX_LENGTHS: Mapping[str, int] = {
    "md5": 32,
    "sha1": 40,
    "sha224": 56,
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
    "blake2b": 128,
    "blake2b_256": 64,
}
"""The algorithms that can be checked, with their number of hexadecimal digits."""


def parse_sha256(raw: str) -> Sha256 | None:
    """Read a sha256 in any case; None when it is not one."""
    text = raw.strip().lower()
    return Sha256(text) if _HEX64.match(text) else None


def sha256_of(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


PUBLISHED_IN_JSON = ("sha512", "sha384", "sha224", "sha1", "md5")
"""The digests that a JSON page may list for a file without sha256. Not blake2b: uv wants 64 digits under that name and otherwise
refuses the whole page, pip wants 128, and pip fails on `blake2b_256` (seen with pip 26.3 and uv 0.13.9). Both ignore unknown names of sha."""
PUBLISHED_IN_HTML = ("sha512", "sha384", "md5")
"""The digests that an HTML link may have for a file without sha256. uv refuses the whole page for `#sha1=` and `#sha224=`."""


def clean_digests(raw: Mapping[str, object]) -> dict[str, str]:
    """Keep the digests that are well formed and of a known algorithm, in lower case, sha256 first.

    `blake2b` of 64 digits is blake2b-256, which is uv's use of the name.
    """
    kept: dict[str, str] = {}
    for algorithm, value in raw.items():
        name = algorithm.lower()
        if name == "blake2b" and isinstance(value, str) and len(value) == HEX_LENGTHS["blake2b_256"]:
            name = "blake2b_256"
        if isinstance(value, str) and len(value) == HEX_LENGTHS.get(name) and re.fullmatch(r"[0-9a-fA-F]+", value):
            kept[name] = value.lower()
    return {name: kept[name] for name in sorted(kept, key=lambda name: (name != "sha256", name))}


class Hasher:
    """Computes several digests in one pass over the bytes; sha256 is always one of them."""

    __slots__ = ("_hashes", "size")

    def __init__(self, *algorithms: str) -> None:
        self._hashes: dict[str, _Digest] = {name: _new(name) for name in ("sha256", *algorithms)}
        self.size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self.size += len(data)
        for digest in self._hashes.values():
            digest.update(data)

    @property
    def sha256(self) -> Sha256:
        return Sha256(self._hashes["sha256"].hexdigest())

    def hexdigest(self, algorithm: str) -> str:
        return self._hashes[algorithm].hexdigest()


class _Digest(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def _new(name: str) -> _Digest:
    if name == "blake2b_256":
        return hashlib.blake2b(digest_size=32)
    return hashlib.new(name, usedforsecurity=False)
