"""Users: made, changed and removed, with every right checked and every value normalised.

The rules are devpi's where devpi has the thing; the sentences too. Nothing here speaks HTTP or prints.

What was read before a write is a requirement of the write; when somebody else was faster, it is read and decided anew a few times,
and then told as the `Conflict` it is. A user whom the principal may not see is missing, in the words that fit a missing one.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pkgindex_core.changes import Change, DropIndex, DropToken, DropUser, IndexIs, PutUser, UserAbsent, UserIs
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Conflict, Denied, Missing, RequirementFailed
from pkgindex_core.models import IndexConfig, User
from pkgindex_core.names import owner, parse_user_name
from pkgindex_core.protocols import Accounts, IndexWriter, Passwords, Principal, Trees
from pkgindex_core.rules import option_values
from pkgindex_core.rules.access import require_user_right, shown_user
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.tools.committing import until_committed

_TURNS: Final = 5


class _Store(Trees, Accounts, IndexWriter, Protocol): ...


class Users:
    """Changes to users. `principal` is who asks; every method checks the right it needs."""

    def __init__(self, *, store: _Store, passwords: Passwords, clock: Clock, empty_passwords: bool = False) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._empty_passwords = empty_passwords

    async def check_new(self, name: str, principal: Principal) -> None:
        """Raise what making this user would raise, before it is known what the user is to be."""
        require_user_right(principal, Action.USER_CREATE, name)
        parse_user_name(name)
        if await self._store.user(name) is not None:
            raise Conflict("user already exists")

    async def create(
        self,
        name: str,
        password: str,
        *,
        principal: Principal,
        email: str = "",
        title: str = "",
        description: str = "",
        custom_data: Any = None,
    ) -> User:
        """Make a user. A name that is taken is a `Conflict`."""
        await self.check_new(name, principal)
        now = self._clock.now()
        user = User(
            name=name,
            password_hash=await self._passwords.hash(password, may_be_empty=self._empty_passwords),
            email=option_values.text(email),
            title=option_values.text(title),
            description=option_values.text(description),
            custom_data=option_values.anything(custom_data),
            created=now,
            modified=now,
        )
        try:
            await self._store.apply([PutUser(user)], who=principal.label, require=[UserAbsent(name)])
        except RequirementFailed as error:
            raise Conflict("user already exists") from error
        return user

    async def modify(
        self,
        name: str,
        *,
        principal: Principal,
        password: str | None = None,
        email: str | UnsetType = UNSET,
        title: str | UnsetType = UNSET,
        description: str | UnsetType = UNSET,
        custom_data: Any = UNSET,
    ) -> User:
        """Change a user's password or details. Who writes all back and changes nothing but the password needs no other right."""
        given = {"email": email, "title": title, "description": description}
        details = {key: option_values.text(value) for key, value in given.items() if value is not UNSET}
        if custom_data is not UNSET:
            details["custom_data"] = option_values.anything(custom_data)
        hashed: list[str] = []

        async def attempt(_: int) -> User:
            before = await self._shown(name, principal)
            user = replace(before, **details)
            # At first: details that are equal to what somebody has guessed are not to make a difference.
            if password is not None:
                require_user_right(principal, Action.PASSWORD_CHANGE, name)
            if password is None or user != before:
                require_user_right(principal, Action.USER_MODIFY, name)
            ended: list[Change] = []
            if password is not None:
                if not hashed:
                    hashed.append(await self._passwords.hash(password, may_be_empty=self._empty_passwords))
                user = replace(user, password_hash=hashed[0])
                # A new password ends every log-in that the old one bought, but for the one by which it is changed. API tokens stay:
                # they were made to outlive it.
                tokens = await self._store.tokens(name)
                ended = [DropToken(one.id) for one in tokens if one.kind == "login" and one.id != principal.log_in]
            if user == before:
                return before
            user = replace(user, modified=self._clock.now())
            await self._store.apply([PutUser(user), *ended], who=principal.label, require=[UserIs(before)])
            return user

        # Missing: a log-in that has just ended by itself.
        return await until_committed(attempt, upon=(RequirementFailed, Missing), turns=_TURNS)

    async def delete(self, name: str, *, principal: Principal) -> None:
        """Remove a user with its volatile indexes and tokens; one that owns a non-volatile index stays."""

        async def attempt(_: int) -> None:
            owned = await self.check_deletion(name, principal)
            changes: list[Change] = [DropIndex(config.name) for config in owned]
            same = [IndexIs(config) for config in owned]
            await self._store.apply([*changes, DropUser(name)], who=principal.label, require=same)

        # Conflict: an index that was made meanwhile stands in the way of `DropUser`.
        await until_committed(attempt, upon=Conflict, turns=_TURNS)

    async def check_change(self, name: str, principal: Principal) -> None:
        """Raise what changing this user would raise, before it is known what is to change: a password, or something else."""
        await self._shown(name, principal)
        if not permits(principal, Action.PASSWORD_CHANGE, user=name):
            require_user_right(principal, Action.USER_MODIFY, name)

    async def check_deletion(self, name: str, principal: Principal) -> list[IndexConfig]:
        """Raise what removing this user would raise; return the indexes that go along."""
        await self._shown(name, principal)
        require_user_right(principal, Action.USER_DELETE, name)
        tree = await self._store.tree()
        owned = [config for index, config in sorted(tree.indexes.items()) if owner(index) == name]
        kept = [config.name.partition("/")[2] for config in owned if not config.volatile]
        if kept:
            raise Denied(
                f"user {name!r} has non-volatile index: {', '.join(kept)}",
                anonymous=False,
                hint="make the index volatile first if it is really to go",
            )
        return owned

    async def _shown(self, name: str, principal: Principal) -> User:
        return shown_user(await self._store.tree(), name, await self._store.user(name), principal)
