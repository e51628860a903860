"""Makes, changes and removes users. Checks every permission and normalises every value.

Rules and messages are devpi's where devpi has them.

A write requires that the data read before is unchanged. After a concurrent change it is repeated a few times, and then raises
`Conflict`. A user that the principal may not see gives the error of a missing user.
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
    """Changes users. Every method checks the permissions of `principal`."""

    def __init__(self, *, store: _Store, passwords: Passwords, clock: Clock, empty_passwords: bool = False) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._empty_passwords = empty_passwords

    async def check_new(self, name: str, principal: Principal) -> None:
        """Raise the errors of making this user, before its details are known."""
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
        """Change a user's password or details. Details that are sent but unchanged need no permission."""
        given = {"email": email, "title": title, "description": description}
        details = {key: option_values.text(value) for key, value in given.items() if value is not UNSET}
        if custom_data is not UNSET:
            details["custom_data"] = option_values.anything(custom_data)
        hashed: list[str] = []

        async def attempt(_: int) -> User:
            before = await self._shown(name, principal)
            user = replace(before, **details)
            # Checked first, so that a guess of the details does not change the answer.
            if password is not None:
                require_user_right(principal, Action.PASSWORD_CHANGE, name)
                _require_password_of_ours(before, principal)
            if password is None or user != before:
                require_user_right(principal, Action.USER_MODIFY, name)
            ended: list[Change] = []
            if password is not None:
                if not hashed:
                    hashed.append(await self._passwords.hash(password, may_be_empty=self._empty_passwords))
                user = replace(user, password_hash=hashed[0])
                # A new password ends all log-ins except the present one. API tokens stay: they are made to outlive passwords.
                tokens = await self._store.tokens(name)
                ended = [DropToken(one.id) for one in tokens if one.kind == "login" and one.id != principal.log_in]
            if user == before:
                return before
            user = replace(user, modified=self._clock.now())
            await self._store.apply([PutUser(user), *ended], who=principal.label, require=[UserIs(before)])
            return user

        # Missing: a log-in that has just expired.
        return await until_committed(attempt, upon=(RequirementFailed, Missing), turns=_TURNS)

    async def delete(self, name: str, *, principal: Principal) -> None:
        """Remove a user with its volatile indexes and tokens. A user that owns a non-volatile index cannot be removed."""

        async def attempt(_: int) -> None:
            owned = await self.check_deletion(name, principal)
            changes: list[Change] = [DropIndex(config.name) for config in owned]
            same = [IndexIs(config) for config in owned]
            await self._store.apply([*changes, DropUser(name)], who=principal.label, require=same)

        # Conflict: an index that was made meanwhile prevents `DropUser`.
        await until_committed(attempt, upon=Conflict, turns=_TURNS)

    async def check_change(self, name: str, principal: Principal) -> None:
        """Raise the errors of changing this user, before the changes are known."""
        await self._shown(name, principal)
        if not permits(principal, Action.PASSWORD_CHANGE, user=name):
            require_user_right(principal, Action.USER_MODIFY, name)

    async def check_deletion(self, name: str, principal: Principal) -> list[IndexConfig]:
        """Raise the errors of removing this user; return the indexes that are removed with it."""
        await self._shown(name, principal)
        require_user_right(principal, Action.USER_DELETE, name)
        tree = await self._store.tree()
        owned = [config for index, config in sorted(tree.indexes.items()) if owner(index) == name]
        kept = [config.name.partition("/")[2] for config in owned if not config.volatile]
        if kept:
            raise Denied(
                f"user {name!r} has non-volatile index: {', '.join(kept)}",
                anonymous=False,
                hint="make the index volatile first if you really want to remove it",
            )
        return owned

    async def _shown(self, name: str, principal: Principal) -> User:
        return shown_user(await self._store.tree(), name, await self._store.user(name), principal)


def _require_password_of_ours(user: User, principal: Principal) -> None:
    """Raise if a user that another authenticator knows chooses a password here: it would outlive the account there."""
    house = principal.house
    if user.password_hash or principal.name != user.name or house.open_registration or not house.names_from_elsewhere:
        return
    raise Denied(
        f"the password of {user.name} is not kept here",
        anonymous=False,
        hint="change it where it is kept, such as in the password file or the directory",
    )
