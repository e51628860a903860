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
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Denied
from pkgindex_core.formats.macaroons import read_token
from pkgindex_core.models import Token, User
from pkgindex_core.protocols import Accounts, Authenticator, Credentials, HouseRules, Principal, TokenScope
from pkgindex_core.rules.permissions import DELEGABLE
from pkgindex_core.tokens import TokenText
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Moment
from pkgindex_core.tools.single_flight import SingleFlight

NOBODY: Final = Principal()
"""The principal of a request without credentials."""

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
    """Tells principals from credentials."""

    def __init__(
        self,
        *,
        store: Accounts,
        currency: Currency,
        authenticators: Sequence[Authenticator],
        clock: Clock,
        house: HouseRules = HouseRules(),  # noqa: B008 - a frozen value
    ) -> None:
        self._store = store
        self._currency = currency
        self._nobody = Principal(house=house)
        self._authenticators = authenticators
        self._clock = clock
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
    # Clients send a token as the password of `__token__`, of its user, or alone as the user name.
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
