"""The text of a token. It is made and shown once.

    pkgi_<id: 12 letters and digits>_<secret: 43 letters and digits><checksum: 6>

Secret scanners find tokens by `pkgi_`. The checksum tells a typing error from a revoked token without a look-up. Only
letters, digits and `_` occur, so that a double click selects all of it. The store has the id and the sha256 of the
secret: 256 random bits need no slow hash. The secret is a number of 32 bytes, so that the same token has a second
spelling (`formats.macaroons`).
"""

from __future__ import annotations

import re
import secrets
import string
import zlib
from typing import Final

from msgspec import Struct

from pkgindex_core.digests import Sha256, sha256_of

PREFIX: Final = "pkgi_"
ALPHABET: Final = string.digits + string.ascii_letters
SECRET_BYTES: Final = 32
LOGIN_SECONDS: Final = 36_000
"""Seconds for which a log-in token is valid, as in devpi."""
_FORM = re.compile(r"\Apkgi_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})\Z")


class TokenText(Struct, frozen=True):
    """A well-formed token. Its repr shows the id only."""

    id: str
    secret: str

    @property
    def secret_sha256(self) -> Sha256:
        return sha256_of(self.secret.encode())

    @property
    def secret_bytes(self) -> bytes:
        """The secret as 32 bytes; OverflowError when it is too large a number for a token."""
        value = 0
        for digit in reversed(self.secret):
            value = value * len(ALPHABET) + ALPHABET.index(digit)
        return value.to_bytes(SECRET_BYTES, "big")

    def __str__(self) -> str:
        return f"{PREFIX}{self.id}_{self.secret}{_checksum(self.id + self.secret)}"

    def __repr__(self) -> str:
        return f"TokenText({self.id}, ***)"


def new_token() -> TokenText:
    return token_text(_random(12), secrets.token_bytes(SECRET_BYTES))


def token_text(token_id: str, secret: bytes) -> TokenText:
    """A token of this id and these 32 bytes."""
    return TokenText(token_id, _digits(int.from_bytes(secret, "big"), 43))


def parse_token(text: str) -> TokenText | None:
    """Read a token; None when the text is not a token or is mistyped."""
    match = _FORM.match(text.strip())
    if match is None or _checksum(match[1] + match[2]) != match[3]:
        return None
    return TokenText(match[1], match[2])


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    return _digits(zlib.crc32(body.encode()), 6)


def _digits(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)
