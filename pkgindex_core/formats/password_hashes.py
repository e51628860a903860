"""Password hashes as text: their kinds, the cost of verifying one, and the form of devpi's hashes.

Two kinds are stored. Argon2 in PHC form, made here or by passlib, which devpi uses since 4.2; and the hashes of earlier
devpi versions: the sha256 of a salt and the password, stored here as `$devpi-sha256$SALT$DIGEST` with the salt in base64. A
salted sha256 is cheap to guess, so it is replaced at the next log-in.

Pure: `engines.argon2` verifies hashes.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from msgspec import Struct

MEMORY_LIMIT: Final = 512 * 1024
"""The most KiB for one verification. devpi's hashes take 64 MiB; this is eight times as much, for stricter settings."""
WORK_LIMIT: Final = 4 * 1024 * 1024
"""The most KiB times passes, which take some seconds of one core."""
LANES_LIMIT: Final = 64

_ARGON2 = (
    r"\A\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m=([0-9]{1,9}),t=([0-9]{1,9}),p=([0-9]{1,9})"
    r"\$[A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{8,}\Z"
)
_SALTED = re.compile(r"\A\$devpi-sha256\$([A-Za-z0-9_=-]*)\$([0-9a-f]{64})\Z")
_SHA256 = re.compile(r"\A[0-9a-f]{64}\Z")


class SaltedSha256(Struct, frozen=True):
    """A hash of early devpi versions: sha256(salt + password)."""

    salt: bytes
    digest: str


def salted_sha256(text: str) -> SaltedSha256 | None:
    """Read a stored hash of this kind; None for another kind."""
    match = _SALTED.match(text)
    if match is None:
        return None
    try:
        return SaltedSha256(base64.urlsafe_b64decode(match[1]), match[2])
    except ValueError:
        return None


def affordable_argon2(text: str) -> bool:
    """Whether this is an argon2 hash whose memory and time are within the bounds."""
    match = re.match(_ARGON2, text)
    if match is None:
        return False
    memory, passes, lanes = map(int, match.groups())
    return memory <= MEMORY_LIMIT and memory * passes <= WORK_LIMIT and lanes <= LANES_LIMIT


def from_devpi(pwhash: str, pwsalt: str = "") -> str | None:
    """Convert devpi's `pwhash` and `pwsalt` to the stored form; None when they cannot be verified.

    As in devpi, a salt means sha256, whatever the hash looks like. The salt may also stand before the hash.
    """
    if not pwsalt and ":" in pwhash:
        pwsalt, _, pwhash = pwhash.rpartition(":")
    if pwsalt:
        if not _SHA256.match(pwhash) or not pwsalt.isascii():
            return None
        return f"$devpi-sha256${base64.urlsafe_b64encode(pwsalt.encode()).decode()}${pwhash}"
    return pwhash if affordable_argon2(pwhash) else None
