"""Makes and revokes tokens: log-in tokens, which a client gets for a password, and API tokens, which people make by hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal, Protocol

from pkgindex_core.changes import Change, DropToken, PutToken, PutUser, Requirement, UserAbsent, UserIs
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Denied, Missing, Refused, RequirementFailed
from pkgindex_core.formats.macaroons import read_token
from pkgindex_core.models import Token, User
from pkgindex_core.names import parse_user_name
from pkgindex_core.protocols import Accounts, Credentials, IndexWriter, Principal
from pkgindex_core.services.administering.identity import Identity
from pkgindex_core.tokens import LOGIN_SECONDS, TokenText, new_token
from pkgindex_core.tools.committing import until_committed

_LOGIN_TURNS: Final = 5


class _Store(Accounts, IndexWriter, Protocol): ...


class Tokens:
    """Makes and revokes tokens. Each user has `most_tokens` of each kind at most."""

    def __init__(self, *, store: _Store, identity: Identity, clock: Clock, most_tokens: int = 1000) -> None:
        self._store = store
        self._identity = identity
        self._clock = clock
        self._most_tokens = most_tokens

    async def login(self, username: str, password: str) -> tuple[str, int]:
        """Exchange a password for a token of the same rights; return its text and its life in seconds."""
        if read_token(username) or read_token(password):
            # A token must not renew itself: it would outlive its expiry and a change of the password.
            raise Denied("a login needs a user name and a password", anonymous=True)

        async def attempt(_: int) -> str:
            user = await self._store.user(username)
            principal = await self._identity.identify(Credentials(username=username, secret=password))
            if principal.name is None or principal.scope is not None:
                raise Denied("a login needs a user name and a password", anonymous=True)
            # A change of the password ends all log-ins, so this log-in requires that the user is unchanged.
            same = [UserIs(user)] if user is not None and user.name == principal.name else []
            return await self.issue_login(principal, require=same)

        restless = f"user {username!r} changes faster than they can log in"
        return await until_committed(attempt, restless, turns=_LOGIN_TURNS), LOGIN_SECONDS

    async def issue_login(self, principal: Principal, *, require: Sequence[Requirement] = ()) -> str:
        """Make a log-in token for an identified principal, if `require` holds; return its text.

        A token needs a user as its owner. A principal of another authenticator becomes a user at its first log-in, without a
        password here: that authenticator stays responsible.
        """
        if principal.name is None:
            raise Denied("a login needs a user", anonymous=True)
        text, token = self._new_token(principal.name, kind="login", seconds=LOGIN_SECONDS, groups=principal.groups)
        await self._keep(token, who=principal.label, newcomer=True, require=require)
        return str(text)

    async def make(
        self,
        user: str,
        *,
        who: str,
        name: str = "",
        kind: Literal["api", "login"] = "api",
        seconds: int | None = None,
        indexes: tuple[str, ...] = (),
        projects: tuple[str, ...] = (),
        actions: tuple[str, ...] = (),
        newcomer: bool = False,
    ) -> tuple[str, Token]:
        """Store a new token. Returns its text, which cannot be shown again, and the stored token.

        `newcomer`: another authenticator has identified the user, so a missing user is made in the same commit.
        """
        if kind == "api":
            await self._make_room(user)
        text, token = self._new_token(
            user, name=name, kind=kind, seconds=seconds, indexes=indexes, projects=projects, actions=actions
        )
        await self._keep(token, who=who, newcomer=newcomer)
        return str(text), token

    async def make_for_publisher(
        self,
        user: str,
        *,
        index: str,
        projects: tuple[str, ...],
        publisher: str,
        stamp: str,
        action: str,
        seconds: int,
        beside: Sequence[Change] = (),
        require: Sequence[Requirement] = (),
    ) -> tuple[str, Token]:
        """Store a token for a publisher that an issuer has vouched for, together with the changes `beside`. Ended ones of the user go."""
        text, token = self._new_token(
            user,
            kind="publish",
            seconds=seconds,
            indexes=(index,),
            projects=projects,
            actions=(action,),
            publisher=publisher,
            stamp=stamp,
        )
        await self._store.apply([*beside, PutToken(token)], who=f"[{publisher}]", require=require)
        ended = [
            each
            for each in await self._store.tokens(user)
            if each.kind == "publish" and each.expires is not None and each.expires <= token.created
        ]
        if ended:
            await self._drop(ended)
        return str(text), token

    def _new_token(self, user: str, *, seconds: int | None, **fields: Any) -> tuple[TokenText, Token]:
        text = new_token()
        now = self._clock.now()
        expires = None if seconds is None else Timestamp(now + seconds * 1_000_000)
        token = Token(id=text.id, user=user, secret_sha256=text.secret_sha256, created=now, expires=expires, **fields)
        return text, token

    async def _keep(self, token: Token, *, who: str, newcomer: bool, require: Sequence[Requirement] = ()) -> None:
        """Store a token, and its user too if it is a newcomer."""
        kept = False
        if newcomer and not require and await self._store.user(token.user) is None:
            user = User(name=parse_user_name(token.user), created=token.created, modified=token.created)
            with suppress(RequirementFailed):  # a concurrent request has made the user
                await self._store.apply([PutUser(user), PutToken(token)], who=who, require=[UserAbsent(token.user)])
                kept = True
        if not kept:
            await self._store.apply([PutToken(token)], who=who, require=require)
        await self._clear_away(token.user, token.created)

    async def _make_room(self, user: str) -> None:
        """Make room for one more API token of a user: drop expired ones when there are too many; otherwise refuse."""
        now = self._clock.now()
        tokens = [token for token in await self._store.tokens(user) if token.kind == "api"]
        if len(tokens) < self._most_tokens:
            return
        expired = [token for token in tokens if token.expires is not None and token.expires <= now]
        if not expired:
            raise Refused(
                f"the user {user} has {len(tokens)} API tokens; {self._most_tokens} are possible",
                hint="delete unused tokens; the administrator's setting is max_user_tokens",
            )
        await self._drop(expired)

    async def _clear_away(self, user: str, now: Timestamp) -> None:
        """Drop a user's expired log-ins, and the oldest ones when there are too many."""
        log_ins = [token for token in await self._store.tokens(user) if token.kind == "login"]
        expired = [token for token in log_ins if token.expires is not None and token.expires <= now]
        good = [token for token in log_ins if token.expires is None or token.expires > now]
        oldest = sorted(good, key=lambda token: token.created)[: max(0, len(good) - self._most_tokens)]
        await self._drop([*expired, *oldest])

    async def _drop(self, tokens: Sequence[Token]) -> None:
        """Drop tokens. A concurrent request may drop them too."""
        with suppress(Missing):
            await self._store.apply([DropToken(token.id) for token in tokens], who="[housekeeping]")

    async def revoke(self, token_id: str, *, who: str) -> None:
        """Revoke a token. It is refused from the next request on."""
        await self._store.apply([DropToken(token_id)], who=who)
