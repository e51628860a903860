"""Identifies the principal of a request by its credentials. A repeated request costs a dictionary look-up.

A verdict is kept under the hash of the credentials, together with its grounds (the stored user and token). It holds until a
commit of any process changes a user or a token. Then its grounds are read again (a row or two) and compared, so that a
revoked token or a changed password ends at the next request. An authenticator with a state of its own (`Stateful`) ends its
verdicts by it. Expiry is checked every time. Verdicts on wrong credentials are kept too: a misconfigured client costs one slow
hash, not one for each request.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Final
from weakref import ref

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Denied
from pkgindex_core.formats.macaroons import read_token
from pkgindex_core.models import Token, User
from pkgindex_core.protocols import (
    Accounts,
    Authenticator,
    Credentials,
    HouseRules,
    Principal,
    Stateful,
    StatefulAtOnce,
)
from pkgindex_core.rules.permissions import scope_of
from pkgindex_core.tokens import TokenText
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Holds, Moment
from pkgindex_core.tools.single_flight import SingleFlight

NOBODY: Final = Principal()
"""The principal of a request without credentials."""

FOREIGN_SECONDS: Final = 60
"""Seconds for which another authenticator's verdict is kept."""

_VERDICTS: Final = 10_000


class _Grounds(Struct, frozen=True):
    """The inputs of a verdict. Equal grounds give equal verdicts."""

    user: User | None
    token: Token | None


class _KeptVerdict(Struct, weakref=True):
    principal: Principal | None
    grounds: _Grounds
    moment: Moment
    """The moment before the grounds were read."""
    states: Sequence[Hashable]
    """The states of authenticators that have one, before they were asked."""
    until: float
    """The end of the verdict in monotonic seconds. Verdicts of other authenticators, such as a directory, are short-lived."""


class Identity:
    """Identifies principals by credentials."""

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
        self._stateful = [each for each in authenticators if isinstance(each, Stateful)]
        self._clock = clock
        self.kept: BoundedCache[Sha256, _KeptVerdict] = BoundedCache(_VERDICTS)
        self._judging: SingleFlight[_KeptVerdict] = SingleFlight()

    def at_home(self, principal: Principal) -> Principal:
        """Add the server's settings to a principal that was identified in another way."""
        return replace(principal, house=self._nobody.house)

    async def identify(self, credentials: Credentials | None) -> Principal:
        """The principal of credentials; anonymous without credentials. Raises `Denied` for wrong ones."""
        if credentials is None:
            return self._nobody
        key = _key_of(credentials)
        await self._currency.catch_up()
        moment = self._currency.moment()
        kept = self.kept.get(key)
        token_text = _token_in(credentials)
        states = [await each.state() for each in self._stateful] if token_text is None else []
        over = kept is None or self._is_over(kept, states)
        if kept is None or over or not self._is_current(kept):
            grounds = await self._grounds(credentials.username, token_text)
            if kept is None or over or kept.grounds != grounds:
                kept = await self._judged_once(key, credentials, token_text, grounds, moment, states)
            kept.moment = moment
        self.kept.put(key, kept)
        token = kept.grounds.token
        if kept.principal is None:
            raise _wrong(token_text)
        if token is not None and self._is_expired(token):
            if token.kind == "login":
                raise Denied("the log-in has ended: log in again", anonymous=True)
            raise Denied(f"the token {token.id} has expired", anonymous=True, hint="make a new one")
        return kept.principal

    def recalled(self, credentials: Credentials) -> bool | None:
        """Whether the last verdict on a password is that it is right; None if there is none, or if users have changed."""
        kept = self.kept.get(_key_of(credentials))
        return kept.principal is not None if kept is not None and self._is_current(kept) else None

    def holding(self, credentials: Credentials | None, principal: Principal) -> Holds | None:
        """Make a check whether `identify` would return this principal again. None if an authenticator cannot tell without waiting.

        The check does not hold the verdict in memory: it fails when the cache has dropped it.
        """
        if credentials is None:
            return lambda: True
        kept = self.kept.get(_key_of(credentials))
        asked = self._stateful if _token_in(credentials) is None else []
        telling = [each for each in asked if isinstance(each, StatefulAtOnce)]
        if kept is None or kept.principal != principal or len(telling) < len(asked):
            return None
        return partial(self._holds, ref(kept), telling)

    def _holds(self, verdict: ref[_KeptVerdict], telling: Sequence[StatefulAtOnce]) -> bool:
        kept = verdict()
        if kept is None:
            return False
        states = [each.state_at_once() for each in telling]
        token = kept.grounds.token
        return (
            self._is_current(kept)
            and None not in states
            and not self._is_over(kept, states)
            and not (token is not None and self._is_expired(token))
        )

    def _is_over(self, kept: _KeptVerdict, states: Sequence[Hashable]) -> bool:
        """Whether the time of a verdict has passed, or an authenticator has another state."""
        return kept.states != states or kept.until <= self._clock.monotonic()

    def _is_expired(self, token: Token) -> bool:
        return token.expires is not None and token.expires <= self._clock.now()

    def _is_current(self, kept: _KeptVerdict) -> bool:
        """Whether its grounds are unchanged."""
        return self._currency.holds(kept.moment, tree=False, identities=True)

    async def _grounds(self, username: str, token_text: TokenText | None) -> _Grounds:
        if token_text is None:
            return _Grounds(await self._store.user(username), None)
        token = await self._store.token(token_text.id)
        return _Grounds(await self._store.user(token.user) if token else None, token)

    async def _judged_once(
        self,
        key: Sha256,
        credentials: Credentials,
        text: TokenText | None,
        grounds: _Grounds,
        moment: Moment,
        states: Sequence[Hashable],
    ) -> _KeptVerdict:
        """Reach one verdict for concurrent requests with the same credentials: a cold build farm costs one slow hash."""
        same = (key, msgspec.msgpack.encode(grounds), *states)  # details of a user cannot be hashed, their encoding can
        kept = await self._judging.get(same, lambda: self._judged(credentials, text, grounds, moment, states))
        return replace(kept)  # a copy for each request, with a moment of its own

    async def _judged(
        self,
        credentials: Credentials,
        text: TokenText | None,
        grounds: _Grounds,
        moment: Moment,
        states: Sequence[Hashable],
    ) -> _KeptVerdict:
        ours = text is not None or (grounds.user is not None and bool(grounds.user.password_hash))
        principal = await self._judge(credentials, text, grounds)
        if principal is not None:
            principal = self.at_home(principal)
        until = math.inf if ours else self._clock.monotonic() + FOREIGN_SECONDS
        return _KeptVerdict(principal, grounds, moment, states, until)

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


def _key_of(credentials: Credentials) -> Sha256:
    return sha256_of(f"{credentials.username}\0{credentials.secret}".encode())


def _token_in(credentials: Credentials) -> TokenText | None:
    return read_token(credentials.secret) or read_token(credentials.username)


def _wrong(token: TokenText | None) -> Denied:
    """The refusal of wrong credentials. Its text depends on the credentials alone.

    devpi's client sends the token of its last log-in with every command, and shows the message without the hint.
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
    # Clients send a token as the password of `__token__` or of its user, or as the user name without a password.
    if username not in {"__token__", "", token.user} and read_token(username) is None:
        return None
    if token.kind == "login":
        return Principal(name=token.user, groups=token.groups, log_in=token.id)
    return Principal(name=token.user, scope=scope_of(token))
