"""The built-in authenticator: users of the store and their passwords.

A hash from devpi, or with other parameters than new ones, is replaced at a log-in, when the password is known.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from msgspec.structs import replace

from pkgindex_core.changes import PutUser, UserIs
from pkgindex_core.errors import Refused, RequirementFailed, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import User
from pkgindex_core.protocols import Credentials, Principal


class UserPasswords:
    """Checks the passwords of the users in the store."""

    def __init__(self, context: Context) -> None:
        if context.index_store is None or context.passwords is None:
            raise LookupError("users need an index store and a hasher of passwords")
        self._store = context.index_store
        self._passwords = context.passwords

    async def authenticate(self, credentials: Credentials) -> Principal | Literal["refused"] | None:
        user = await self._store.user(credentials.username)
        if await self._passwords.verify(user.password_hash if user else "", credentials.secret):
            if user is not None and self._passwords.outdated(user.password_hash):
                await self._renew(user, credentials.secret)
            return Principal(name=credentials.username)
        # A user without a password here may belong to another authenticator.
        return "refused" if user and user.password_hash else None

    async def _renew(self, user: User, password: str) -> None:
        """Replace an outdated hash, unless the user was changed meanwhile.

        A failure is ignored: the log-in succeeds even if the store takes no writes now.
        """
        with suppress(
            RequirementFailed, Unavailable, Refused
        ):  # refused: an empty password, which is not accepted for a new hash
            renewed = replace(user, password_hash=await self._passwords.hash(password))
            await self._store.apply([PutUser(renewed)], who="[login]", require=[UserIs(user)])
