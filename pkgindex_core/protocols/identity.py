"""Principals, credentials, and the roles that check credentials.

The permissions of a principal are a pure rule (`rules.permissions`), not a role. The contract suites are
`pkgindex_core.testing.authenticators` and `pkgindex_core.testing.passwords`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct


class TokenScope(Struct, frozen=True, kw_only=True):
    """The limits of a token. An empty field is no limit."""

    token_id: str
    indexes: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    publisher: str = ""
    """The publisher that a trusted issuer vouched for (`formats.publishers`); empty for other tokens."""
    stamp: str = ""
    """The ref and the commit that the issuer told."""


class HouseRules(Struct, frozen=True, kw_only=True):
    """The administrator's settings that apply to all principals."""

    open_registration: bool = False
    """Whether anonymous clients may make users."""
    names_from_elsewhere: bool = False
    """Whether a directory or a proxy authenticates people. Only with `open_registration` may they have a password here as well."""
    restrict_modify: tuple[str, ...] | None = None
    """The only principals (names, `:groups`) that manage users and indexes, in place of root and of owners; None: no restriction.
    They may set root's password too, and so become root."""
    index_types: frozenset[str] | None = None
    """The known index types. An index of another type is read-only. None: every type is accepted."""


class Principal(Struct, frozen=True, kw_only=True):
    """A user or an anonymous client, with groups and limits. `name` None is anonymous."""

    name: str | None = None
    groups: tuple[str, ...] = ()
    scope: TokenScope | None = None
    log_in: str = ""
    """The id of the log-in token; empty for a password or an API token."""
    house: HouseRules = HouseRules()
    """The server's settings. `services.administering.identity` sets them with the principal, so that every decision has them."""

    @property
    def label(self) -> str:
        """The principal's name in commits and logs."""
        if self.name is None:
            return "[anonymous]"
        if self.scope is None:
            return self.name
        if self.scope.publisher:
            return f"{self.name} ({self.scope.publisher} {self.scope.stamp}, token {self.scope.token_id})"
        return f"{self.name} (token {self.scope.token_id})"


class Credentials(Struct, frozen=True, kw_only=True):
    """The credentials of a request: any text that UTF-8 can encode, control characters included. Never logged; their repr shows nothing."""

    username: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(***)"


class PasswordComparing(Protocol):
    """Compares passwords, of any text, with hashes. Every call blocks and is expensive; `Passwords` bounds the calls."""

    def verify(self, password_hash: str, password: str) -> bool:
        """Compare. An empty or damaged hash never matches."""
        ...


class PasswordHashing(PasswordComparing, Protocol):
    """Makes and compares password hashes. An empty or damaged hash takes as long to compare as a real one."""

    def hash(self, password: str) -> str:
        """Make a hash with a new salt."""
        ...

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash that was just verified is not of the kind and cost that new ones have."""
        ...


class Passwords(Protocol):
    """Makes and compares password hashes. Hashing is expensive on purpose, so one shared object bounds it."""

    async def hash(self, password: str, *, may_be_empty: bool = False) -> str:
        """Hash a new password, or refuse an unusable one. `Unavailable` when too many calls wait already."""
        ...

    async def verify(self, password_hash: str, password: str, *, comparing: PasswordComparing | None = None) -> bool:
        """Compare. An empty hash never matches, and takes as long as a real one. `Unavailable` when too many calls wait already.

        `comparing` is for hashes that are kept elsewhere and are of other kinds; they share the bounds.
        """
        ...

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash that was just verified is not of the kind and cost that new ones have."""
        ...


class Authenticator(Protocol):
    """Checks credentials. Several authenticators are asked one after the other.

    Any credentials are answered: garbage raises nothing. A wrong secret takes as long as an unknown user. While the server that
    is asked gives no answer, raises `Unavailable`, for wrong secrets and unknown users too. No secret is logged.
    """

    async def authenticate(self, credentials: Credentials) -> Principal | Literal["refused"] | None:
        """Return the principal; `refused` for wrong credentials of this authenticator; None for those of another one.

        The principal has a name and groups only. Tokens add limits, and the caller adds the settings of the server.
        """
        ...


@runtime_checkable
class Stateful(Protocol):
    """An authenticator that knows when its verdicts may be others. Verdicts are kept for a while, and no longer than its state."""

    async def state(self) -> Hashable:
        """A value that changes when a verdict may have changed. Every request asks for it, so it is cheap."""
        ...


@runtime_checkable
class StatefulAtOnce(Protocol):
    """Beside `Stateful`: it can often tell its state without waiting. Without this no answer for its users is given twice (`pkgindex_http.listening.replays`)."""

    def state_at_once(self) -> Hashable | None:
        """The value that `state` would return now; None if it would wait."""
        ...
