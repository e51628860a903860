"""The password hashes of htpasswd files: which kinds there are, what verifying one costs, and the comparison.

    $2a$ $2b$ $2y$   bcrypt                     htpasswd -B
    $5$              sha256-crypt               htpasswd -2
    $6$              sha512-crypt               htpasswd -5
    $apr1$           Apache's MD5               htpasswd -m
    $1$              md5-crypt
    $sha1$           sha1-crypt
    {SHA}            sha1 without a salt        htpasswd -s
    _                bsdi-crypt
    13 characters    DES, of 8 characters of the password    htpasswd -d

Plain text is not among them: in a file, it cannot be told from a hash of the kind DES.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any, Final

from passlib import hash as kinds

if TYPE_CHECKING:
    from pkgindex_core.protocols import PasswordComparing

_SHA: Final = "{SHA}"
_BCRYPT: Final = re.compile(r"\$2[aby]\$")
_BCRYPT_BYTES: Final = 72
"""bcrypt uses this much of a password. `htpasswd -B` cuts the rest off; the library refuses it."""
_ROUND_SECONDS: Final = (
    (kinds.bcrypt, _BCRYPT, 7e-5),  # of 2 ** rounds
    (kinds.sha256_crypt, re.compile(r"\$5\$"), 6e-7),
    (kinds.sha512_crypt, re.compile(r"\$6\$"), 6e-7),
    (kinds.sha1_crypt, re.compile(r"\$sha1\$"), 6e-7),
    (kinds.apr_md5_crypt, re.compile(r"\$apr1\$"), 5e-4),  # these have no number of rounds
    (kinds.md5_crypt, re.compile(r"\$1\$"), 5e-4),
    (kinds.bsdi_crypt, re.compile(r"_"), 7e-6),
    (kinds.des_crypt, re.compile(r"[./0-9A-Za-z]{13}\Z"), 1e-3),
)
"""Each kind, how its hashes begin, and about what one round takes. The figures put kinds in order and are no more than that."""


def seconds_of(text: str) -> float | None:
    """About how long verifying a hash takes, compared with others; None when it is of no kind that is known, or damaged."""
    if text.startswith(_SHA):
        return 1e-6 if _sha1_of(text) is not None else None
    for kind, beginning, seconds in _ROUND_SECONDS:
        if beginning.match(text):
            try:
                read = kind.from_string(text)
            except (ValueError, TypeError):
                return None
            if read.checksum is None:  # a salt alone
                return None
            rounds = getattr(read, "rounds", 1)
            return float(seconds * (2**rounds if beginning is _BCRYPT else rounds))
    return None


class HtpasswdComparing:
    """Compares passwords with hashes of every kind that `seconds_of` knows."""

    def verify(self, password_hash: str, password: str) -> bool:
        if password_hash.startswith(_SHA):
            expected = _sha1_of(password_hash)
            actual = hashlib.sha1(password.encode(errors="surrogatepass"), usedforsecurity=False).digest()
            return expected is not None and hmac.compare_digest(actual, expected)
        kind = next((kind for kind, beginning, _ in _ROUND_SECONDS if beginning.match(password_hash)), None)
        if kind is None:
            return False
        return _matches(kind, password_hash, password.encode(errors="surrogatepass"))


def _matches(kind: Any, password_hash: str, secret: bytes) -> bool:
    try:
        return bool(kind.verify(secret[:_BCRYPT_BYTES] if kind is kinds.bcrypt else secret, password_hash))
    except (ValueError, TypeError):  # a NUL, which no password of these kinds has, or a damaged hash
        return False


def _sha1_of(text: str) -> bytes | None:
    try:
        digest = base64.b64decode(text.removeprefix(_SHA), validate=True)
    except ValueError:
        return None
    return digest if len(digest) == hashlib.sha1(usedforsecurity=False).digest_size else None


if TYPE_CHECKING:
    _: type[PasswordComparing] = HtpasswdComparing
