"""Password hashes of the kind argon2id, made and compared.

Everything here blocks, for tens of milliseconds and with 32 MiB; `tools.passwords` calls it in worker threads and bounds
how often. Hashes that came along from devpi are compared too, within bounds of cost (`formats.password_hashes`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from typing import TYPE_CHECKING

import argon2

from pkgindex_core.formats.password_hashes import affordable_argon2, salted_sha256

if TYPE_CHECKING:
    from pkgindex_core.protocols import PasswordHashing


class Argon2Hashing:
    """Makes argon2id hashes, and compares those of every kind that may be stored."""

    def __init__(self) -> None:
        # RFC 9106's parameters for constrained memory are too slow for a small index; OWASP's second choice, doubled in memory.
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)
        self._decoy = ""

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def verify(self, password_hash: str, password: str) -> bool:
        salted = salted_sha256(password_hash)
        if salted is not None:
            digest = hashlib.sha256(salted.salt + password.encode(errors="replace")).hexdigest()
            # A wrong guess costs what it costs elsewhere; the right one is replaced by a proper hash.
            return hmac.compare_digest(digest, salted.digest) or self._refuse_slowly(password)
        if not affordable_argon2(password_hash):
            return self._refuse_slowly(password)
        try:
            self._hasher.verify(password_hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        return True

    def outdated(self, password_hash: str) -> bool:
        return salted_sha256(password_hash) is not None or self._hasher.check_needs_rehash(password_hash)

    def _refuse_slowly(self, password: str) -> bool:
        """Return False after the time that a comparison takes, so that the time says nothing about the reason."""
        self._decoy = self._decoy or self._hasher.hash("nobody's password")
        with contextlib.suppress(argon2.exceptions.VerificationError):
            self._hasher.verify(self._decoy, password)
        return False


if TYPE_CHECKING:
    _: type[PasswordHashing] = Argon2Hashing
