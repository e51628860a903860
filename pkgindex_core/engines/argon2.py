"""Makes and compares password hashes of the kind argon2id.

Every call blocks for tens of milliseconds and takes 32 MiB; `tools.passwords` makes the calls in worker threads, a few at a
time. Hashes from devpi are compared too, within bounds of cost (`formats.password_hashes`).
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cached_property
from typing import TYPE_CHECKING

from pkgindex_core.formats.password_hashes import affordable_argon2, salted_sha256

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from pkgindex_core.protocols import PasswordHashing


class Argon2Hashing:
    """Makes argon2id hashes, and compares all stored kinds."""

    def __init__(self) -> None:
        self._decoy = ""

    @cached_property
    def _hasher(self) -> PasswordHasher:
        import argon2  # with its C library, when a password is first looked at

        # RFC 9106's parameters for constrained memory are too slow for a small index; OWASP's second choice, doubled in memory.
        return argon2.PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)

    def hash(self, password: str) -> str:
        return self._hasher.hash(_bytes(password))

    def verify(self, password_hash: str, password: str) -> bool:
        salted = salted_sha256(password_hash)
        if salted is not None:
            digest = hashlib.sha256(salted.salt + _bytes(password)).hexdigest()
            # A wrong guess takes as long as for other hashes. After the right one the hash is replaced.
            return hmac.compare_digest(digest, salted.digest) or self._refuse_slowly(password)
        if not affordable_argon2(password_hash):
            return self._refuse_slowly(password)
        return self._matches(password_hash, password)

    def outdated(self, password_hash: str) -> bool:
        return salted_sha256(password_hash) is not None or self._hasher.check_needs_rehash(password_hash)

    def _refuse_slowly(self, password: str) -> bool:
        """Return False after the time of a comparison, so that the time does not reveal the reason."""
        self._decoy = self._decoy or self._hasher.hash("the password of no user")
        self._matches(self._decoy, password)
        return False

    def _matches(self, argon2_hash: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(argon2_hash, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False


def _bytes(password: str) -> bytes:
    """Encode as UTF-8, also lone surrogates: Python decodes invalid bytes of a command line to these."""
    return password.encode(errors="surrogatepass")


if TYPE_CHECKING:
    _: type[PasswordHashing] = Argon2Hashing
