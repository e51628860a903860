"""The authenticator that asks an htpasswd file.

It is asked after the users of the index, so a user that has a password there is never looked for here.

A verdict is kept under the credentials, by a hash with a key that only this process has, together with the hash in the file that it was
reached from. So an entry that is changed ends its verdicts, and one that is not costs one slow comparison. A wrong password and a user that
is not there take as long as the costliest kind of hash in the file.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pkgindex_core.engines.htpasswd.hashes import HtpasswdComparing, seconds_of
from pkgindex_core.engines.htpasswd.password_file import Entries, PasswordFile
from pkgindex_core.protocols import Authenticator, Credentials, Passwords, Principal, StatefulAtOnce
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache
from pkgindex_core.tools.single_flight import SingleFlight

_VERDICTS: Final = 10_000


class HtpasswdAuthenticator:
    """Knows the users of one file."""

    def __init__(self, file: PasswordFile, passwords: Passwords) -> None:
        self._file = file
        self._passwords = passwords
        self._comparing = HtpasswdComparing()
        self._key = secrets.token_bytes(32)
        self._verdicts: BoundedCache[bytes, tuple[bool]] = BoundedCache(_VERDICTS)
        self._judging: SingleFlight[tuple[bool]] = SingleFlight()

    def caches(self) -> Sequence[NamedCache]:
        return [NamedCache("htpasswd", self._verdicts)]

    async def state(self) -> Hashable:
        return await self._file.look()

    def state_at_once(self) -> Hashable | None:
        return self._file.latest_look()

    async def authenticate(self, credentials: Credentials) -> Principal | Literal["refused"] | None:
        entries = await self._file.entries()
        password_hash = entries.hashes.get(credentials.username, "")
        key = self._keyed(credentials, password_hash)
        verdict = self._verdicts.get(key) or await self._judging.get(
            key, lambda: self._judged(credentials.secret, password_hash, entries)
        )
        self._verdicts.put(key, verdict)
        if verdict[0]:
            return Principal(name=credentials.username)
        return "refused" if password_hash else None

    async def _judged(self, secret: str, password_hash: str, entries: Entries) -> tuple[bool]:
        if password_hash and await self._passwords.verify(password_hash, secret, comparing=self._comparing):
            return (True,)
        costliest = entries.costliest
        if costliest and (seconds_of(password_hash) or 0.0) < (seconds_of(costliest) or 0.0):
            # The time says nothing about the reason.
            await self._passwords.verify(costliest, secret, comparing=self._comparing)
        return (False,)

    def _keyed(self, credentials: Credentials, password_hash: str) -> bytes:
        parts = (credentials.username, credentials.secret, password_hash)
        text = msgspec.json.encode([each.encode(errors="surrogatepass").hex() for each in parts])
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()


if TYPE_CHECKING:
    _: type[Authenticator] = HtpasswdAuthenticator
    _also: type[StatefulAtOnce] = HtpasswdAuthenticator
