"""Who asks: principals, what requests present, and the role that tells one from the other.

What a principal may do is a pure rule (`rules.permissions`), not a role.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct


class TokenScope(Struct, frozen=True, kw_only=True):
    """What a token narrows its user's rights to. Empty means no limit of that kind."""

    token_id: str
    indexes: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class HouseRules(Struct, frozen=True, kw_only=True):
    """What the administrator of a server has decided about everybody's rights."""

    open_registration: bool = False
    """Anybody may make a user."""
    names_from_elsewhere: bool = False
    """A directory or a proxy says who people are. Then registration is open to those whom it vouches for, each under their own name."""
    restrict_modify: tuple[str, ...] | None = None
    """The principals (names, `:groups`) who alone manage users and indexes, in the place of root and of owners; None: no restriction.
    They may set root's password too, and so become root."""
    index_types: frozenset[str] | None = None
    """The index types that are known here. An index of any other is read-only. None: not asked."""


class Principal(Struct, frozen=True, kw_only=True):
    """Who asks. `name` None is anonymous."""

    name: str | None = None
    groups: tuple[str, ...] = ()
    scope: TokenScope | None = None
    log_in: str = ""
    """The id of the log-in by which they ask; empty when they gave a password or an API token."""
    house: HouseRules = HouseRules()
    """Under which rules. Set where principals are told from credentials (`services.administering.identity`), so that no decision can be taken without."""

    @property
    def label(self) -> str:
        """How commits and logs name the principal."""
        if self.name is None:
            return "[anonymous]"
        return f"{self.name} (token {self.scope.token_id})" if self.scope else self.name


class Credentials(Struct, frozen=True, kw_only=True):
    """What a request presented. Never logged; its repr shows nothing."""

    username: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(***)"


class PasswordHashing(Protocol):
    """How password hashes are made and compared. Every call blocks, and is expensive: `Passwords` bounds them for all."""

    def hash(self, password: str) -> str:
        """A new hash, with a salt of its own."""
        ...

    def verify(self, password_hash: str, password: str) -> bool:
        """Compare. An empty or a damaged hash takes as long as a real one and never matches."""
        ...

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash that was just verified is not of the kind and cost that new ones have."""
        ...


class Passwords(Protocol):
    """What makes and compares password hashes. Hashing is made to be expensive, so there is one for all, which bounds it."""

    async def hash(self, password: str, *, may_be_empty: bool = False) -> str:
        """Hash a new password, or refuse one that cannot be used. `Unavailable` when too many wait already."""
        ...

    async def verify(self, password_hash: str, password: str) -> bool:
        """Compare. An empty hash takes as long as a real one and never matches. `Unavailable` when too many wait already."""
        ...

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash that was just verified is not of the kind and cost that new ones have."""
        ...


class Authenticator(Protocol):
    async def authenticate(self, credentials: Credentials) -> Principal | Literal["refused"] | None:
        """The principal; `refused` when these are ours to judge and wrong; None when somebody else should judge."""
        ...
