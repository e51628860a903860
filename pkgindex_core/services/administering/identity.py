"""Who asks: from what a request presented to a principal, at the cost of a dictionary look-up when warm.

A verdict is kept under the hash of the credentials together with what it was reached from (the stored password hash, the token).
While no user and no token changes it holds as it is; after a commit that changes one, by any process, its grounds are
read again (a row or two) and compared, so that a revoked token or a changed password ends at the next request. Expiry is
looked at every time. Wrong credentials are remembered the same way: a misconfigured client costs one slow hash, not one a request.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import DropToken, PutToken, PutUser, Requirement, UserAbsent, UserIs
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Denied, Missing, Refused, RequirementFailed
from pkgindex_core.formats.macaroons import read_token
from pkgindex_core.models import Token, User
from pkgindex_core.names import parse_user_name
from pkgindex_core.protocols import Authenticator, Credentials, HouseRules, IndexStore, Principal, TokenScope
from pkgindex_core.rules.permissions import DELEGABLE
from pkgindex_core.tokens import TokenText, new_token
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.currency import Currency, Moment
from pkgindex_core.tools.single_flight import SingleFlight

_LOGIN_TURNS: Final = 5

NOBODY: Final = Principal()
"""The principal of a request without credentials."""

LOGIN_SECONDS: Final = 36_000
"""How long a login token is valid; devpi's figure."""

FOREIGN_SECONDS: Final = 60
"""How long another authenticator's verdict is kept before it is asked again."""

_VERDICTS: Final = 10_000


class _Grounds(Struct, frozen=True):
    """What a verdict was reached from; equal grounds, equal verdict."""

    user: User | None
    token: Token | None


class _Kept(Struct):
    principal: Principal | None
    grounds: _Grounds
    moment: Moment
    """Before the grounds were read."""
    until: float
    """Monotonic seconds. Verdicts on grounds that are not ours to watch (a directory's, say) are short-lived."""


class Identity:
    """Tells principals from credentials, and makes and revokes tokens."""

    def __init__(
        self,
        *,
        store: IndexStore,
        currency: Currency,
        authenticators: Sequence[Authenticator],
        clock: Clock,
        house: HouseRules = HouseRules(),  # noqa: B008 - a frozen value
        most_tokens: int = 1000,
    ) -> None:
        self._store = store
        self._currency = currency
        self._nobody = Principal(house=house)
        self._authenticators = authenticators
        self._clock = clock
        self._most_tokens = most_tokens
        self._kept: BoundedCache[Sha256, _Kept] = BoundedCache(_VERDICTS)
        self._judging: SingleFlight[_Kept] = SingleFlight()

    def at_home(self, principal: Principal) -> Principal:
        """A principal under the rules of the house: for whoever learned in another way who asks."""
        return replace(principal, house=self._nobody.house)

    async def identify(self, credentials: Credentials | None) -> Principal:
        """The principal behind credentials, under the rules of the house; without any it has no name, wrong ones are `Denied`."""
        if credentials is None:
            return self._nobody
        key = sha256_of(f"{credentials.username}\0{credentials.secret}".encode())
        await self._currency.catch_up()
        moment = self._currency.moment()
        kept = self._kept.get(key)
        token_text = read_token(credentials.secret) or read_token(credentials.username)
        if kept is None or not self._is_current(kept) or kept.until <= self._clock.monotonic():
            grounds = await self._grounds(credentials.username, token_text)
            if kept is None or kept.grounds != grounds or kept.until <= self._clock.monotonic():
                kept = await self._judged_once(key, credentials, token_text, grounds, moment)
            kept.moment = moment
        self._kept.put(key, kept)
        token = kept.grounds.token
        if kept.principal is None:
            raise _wrong(token_text)
        if token is not None and token.expires is not None and token.expires <= self._clock.now():
            if token.kind == "login":
                raise Denied("the log-in has ended: log in again", anonymous=True)
            raise Denied(f"the token {token.id} has expired", anonymous=True, hint="make a new one")
        return kept.principal

    def _is_current(self, kept: _Kept) -> bool:
        """Whether its grounds are as they were."""
        return self._currency.holds(kept.moment, tree=False, identities=True)

    async def login(self, username: str, password: str) -> tuple[str, int]:
        """Exchange a password for a token of the same rights; return its text and its life in seconds."""
        if read_token(username) or read_token(password):
            # A token that renewed itself would outlive every expiry and every change of the password.
            raise Denied("a login needs a user name and a password", anonymous=True)

        async def attempt(_: int) -> str:
            user = await self._store.user(username)
            principal = await self.identify(Credentials(username=username, secret=password))
            if principal.name is None or principal.scope is not None:
                raise Denied("a login needs a user name and a password", anonymous=True)
            # A password that is changed meanwhile ends every log-in, and this one would begin after that.
            same = [UserIs(user)] if user is not None and user.name == principal.name else []
            return await self.issue_login(principal, require=same)

        restless = f"user {username!r} changes faster than they can log in"
        return await until_committed(attempt, restless, turns=_LOGIN_TURNS), LOGIN_SECONDS

    async def issue_login(self, principal: Principal, *, require: Sequence[Requirement] = ()) -> str:
        """The text of a log-in for somebody whose identity is established, as long as `require` holds.

        A token needs a user who owns it. Whom another authenticator vouches for becomes one at the first log-in, without a
        password of ours: that authenticator goes on judging.
        """
        if principal.name is None:
            raise Denied("a login needs a user", anonymous=True)
        text, token = self._new_token(principal.name, kind="login", seconds=LOGIN_SECONDS, groups=principal.groups)
        await self._keep(token, who=principal.label, newcomer=True, require=require)
        return str(text)

    async def make_token(
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
        """Store a new token and return its text, which is shown this once, with what was stored.

        `newcomer` says that somebody vouches for the user: one who is not known yet is made, in the same commit.
        """
        if kind == "api":
            await self._make_room(user)
        text, token = self._new_token(
            user, name=name, kind=kind, seconds=seconds, indexes=indexes, projects=projects, actions=actions
        )
        await self._keep(token, who=who, newcomer=newcomer)
        return str(text), token

    def _new_token(self, user: str, *, seconds: int | None, **fields: Any) -> tuple[TokenText, Token]:
        text = new_token()
        now = self._clock.now()
        expires = None if seconds is None else Timestamp(now + seconds * 1_000_000)
        token = Token(id=text.id, user=user, secret_sha256=text.secret_sha256, created=now, expires=expires, **fields)
        return text, token

    async def _keep(self, token: Token, *, who: str, newcomer: bool, require: Sequence[Requirement] = ()) -> None:
        """Store a token, and its user too if somebody new may be."""
        kept = False
        if newcomer and not require and await self._store.user(token.user) is None:
            user = User(name=parse_user_name(token.user), created=token.created, modified=token.created)
            with suppress(RequirementFailed):  # made by somebody else just now
                await self._store.apply([PutUser(user), PutToken(token)], who=who, require=[UserAbsent(token.user)])
                kept = True
        if not kept:
            await self._store.apply([PutToken(token)], who=who, require=require)
        await self._clear_away(token.user, token.created)

    async def _make_room(self, user: str) -> None:
        """See that one more API token of a user fits: expired ones go when there are too many, others stay."""
        now = self._clock.now()
        tokens = [token for token in await self._store.tokens(user) if token.kind == "api"]
        if len(tokens) < self._most_tokens:
            return
        expired = [token for token in tokens if token.expires is not None and token.expires <= now]
        if not expired:
            raise Refused(
                f"the user {user} has {len(tokens)} API tokens; {self._most_tokens} are possible",
                hint="delete those that nobody needs; the administrator's setting is max_user_tokens",
            )
        await self._drop(expired)

    async def _clear_away(self, user: str, now: Timestamp) -> None:
        """Drop a user's expired log-ins, and the oldest when there are too many, so that they do not pile up."""
        log_ins = [token for token in await self._store.tokens(user) if token.kind == "login"]
        expired = [token for token in log_ins if token.expires is not None and token.expires <= now]
        good = [token for token in log_ins if token.expires is None or token.expires > now]
        oldest = sorted(good, key=lambda token: token.created)[: max(0, len(good) - self._most_tokens)]
        await self._drop([*expired, *oldest])

    async def _drop(self, tokens: Sequence[Token]) -> None:
        """Drop tokens; somebody else may be doing the same."""
        with suppress(Missing):
            await self._store.apply([DropToken(token.id) for token in tokens], who="[housekeeping]")

    async def revoke_token(self, token_id: str, *, who: str) -> None:
        """End a token; from the next request on nobody gets in with it."""
        await self._store.apply([DropToken(token_id)], who=who)

    async def _grounds(self, username: str, token_text: TokenText | None) -> _Grounds:
        if token_text is None:
            return _Grounds(await self._store.user(username), None)
        token = await self._store.token(token_text.id)
        return _Grounds(await self._store.user(token.user) if token else None, token)

    async def _judged_once(
        self, key: Sha256, credentials: Credentials, text: TokenText | None, grounds: _Grounds, moment: Moment
    ) -> _Kept:
        """One verdict for all who present the same at once: a farm that starts cold costs one slow hash, not one a request."""
        same = (
            key,
            msgspec.msgpack.encode(grounds),
        )  # a user has details of any kind, so grounds are no key themselves
        kept = await self._judging.get(same, lambda: self._judged(credentials, text, grounds, moment))
        return replace(kept)  # each has its own copy: the moment is each one's own

    async def _judged(
        self, credentials: Credentials, text: TokenText | None, grounds: _Grounds, moment: Moment
    ) -> _Kept:
        ours = text is not None or (grounds.user is not None and bool(grounds.user.password_hash))
        principal = await self._judge(credentials, text, grounds)
        if principal is not None:
            principal = self.at_home(principal)
        until = math.inf if ours else self._clock.monotonic() + FOREIGN_SECONDS
        return _Kept(principal, grounds, moment, until)

    async def _judge(self, credentials: Credentials, text: TokenText | None, grounds: _Grounds) -> Principal | None:
        if text is not None:
            return _token_principal(credentials.username, text, grounds)
        for authenticator in self._authenticators:
            answer = await authenticator.authenticate(credentials)
            if answer == "refused":
                return None
            if answer is not None:
                return answer
        return None


def _wrong(token: TokenText | None) -> Denied:
    """The refusal of credentials, in words that depend on nothing but what was presented.

    devpi's client sends the token of its last log-in with every command, and shows the message alone.
    """
    if token is None:
        return Denied("the user name or password, or the token, is wrong", anonymous=True, hint="check the credentials")
    return Denied(
        "the log-in or token is not valid, or not any more: log in again, or make another token", anonymous=True
    )


def _token_principal(username: str, text: TokenText, grounds: _Grounds) -> Principal | None:
    token = grounds.token
    if token is None or grounds.user is None or not hmac.compare_digest(token.secret_sha256, text.secret_sha256):
        return None
    # Clients send a token as the password of `__token__`, of its user, or alone as the user name (standards trap 35).
    if username not in {"__token__", "", token.user} and read_token(username) is None:
        return None
    if token.kind == "login":
        return Principal(name=token.user, groups=token.groups, log_in=token.id)
    # A token without limits still manages no tokens and changes no password; only a log-in does.
    actions = token.actions or DELEGABLE
    return Principal(
        name=token.user,
        scope=TokenScope(token_id=token.id, indexes=token.indexes, projects=token.projects, actions=actions),
    )
