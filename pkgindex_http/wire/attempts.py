"""Slows down log-ins by passwords from an address from which many have failed.

    failures so far           a password that was never judged     one that is known to be wrong     one that is known to be right
    fewer than `allowed`      judged: 401 if it is wrong            401                               answered
    as many or more           judged one at a time: if it is        429                               answered
                              wrong, 429 after a pause

So a right password is answered at once, unless another guess from its address is being judged or in its pause; then it is 429 too. Tokens
are never slowed, because they cannot be guessed, and neither are requests without credentials.

The pause is one second at first, and grows to eight. It goes on when the client closes its connection. An address without failures for
a quarter of an hour begins anew. An IPv6 client has a /64 network, so that network counts as one address. Each process of a server
counts for itself. Requests through a Unix socket without a client address are not slowed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final, TypeVar

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Denied
from pkgindex_core.formats.macaroons import read_token
from pkgindex_core.protocols import Credentials
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_http.errors import TooManyAttempts

Outcome = TypeVar("Outcome")

FORGOTTEN_SECONDS: Final = 900.0
LONGEST_PAUSE: Final = 8
_STEP: Final = 10
"""Failures after which the pause doubles."""
_ADDRESSES: Final = 10_000
"""Addresses that are remembered; those of the oldest attempts are forgotten first."""

_log = logging.getLogger("pkgindex.http")


class _Failures(Struct):
    """The failures of one address."""

    count: int = 0
    last: float = 0.0
    """The monotonic time of the last one."""
    judging: int = 0
    """Passwords that are being judged now."""
    busy_until: float = 0.0
    """The monotonic time until which no further password is judged, while the address is slowed."""


class LoginAttempts:
    """The log-ins of all addresses."""

    def __init__(
        self, allowed: int, clock: Clock, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """`allowed`: failures that are not slowed down. 0: none are."""
        self._allowed = allowed
        self._clock = clock
        self._sleep = sleep
        self._known: BoundedCache[str, _Failures] = BoundedCache(_ADDRESSES)

    async def judged(
        self,
        client: str,
        credentials: Credentials | None,
        recalled: Callable[[Credentials], bool | None],
        judge: Callable[[], Awaitable[Outcome]],
    ) -> Outcome:
        """The outcome of `judge`, which raises `Denied` for wrong credentials. Raises `TooManyAttempts`.

        `client` is an address. `recalled`: whether credentials are known to be right or wrong.
        """
        address = _address_of(client)
        if credentials is None or not self._allowed or not address or _is_token(credentials):
            return await judge()
        failures = self._failures(address)
        known = recalled(credentials)
        is_slowed = failures.count > 0 and failures.count + failures.judging >= self._allowed
        if known or not is_slowed:
            return await self._counted(address, failures, judge)
        if known is not None:
            self._fail(address, failures)
            raise TooManyAttempts(_pause(failures.count - self._allowed))
        return await self._slowed(address, failures, judge)

    def _failures(self, address: str) -> _Failures:
        found = self._known.get(address)
        if found is None or found.last + FORGOTTEN_SECONDS <= self._clock.monotonic():
            return _Failures()
        return found

    def _fail(self, address: str, failures: _Failures) -> None:
        failures.count += 1
        failures.last = self._clock.monotonic()
        self._known.put(address, failures)
        if failures.count == self._allowed:
            _log.warning("log-ins from %s are slowed down: %d have failed", address, failures.count)

    async def _counted(self, address: str, failures: _Failures, judge: Callable[[], Awaitable[Outcome]]) -> Outcome:
        failures.judging += 1
        try:
            return await judge()
        except Denied:
            self._fail(address, self._known.get(address) or failures)
            raise
        finally:
            failures.judging -= 1

    async def _slowed(self, address: str, failures: _Failures, judge: Callable[[], Awaitable[Outcome]]) -> Outcome:
        pause = _pause(failures.count - self._allowed)
        now = self._clock.monotonic()
        if failures.judging or now < failures.busy_until:
            raise TooManyAttempts(pause)
        try:
            return await self._counted(address, failures, judge)
        except Denied as error:
            failures.busy_until = self._clock.monotonic() + pause
            await self._sleep(pause)
            failures.busy_until = 0.0  # a client that waited for this answer need not wait for the clock
            raise TooManyAttempts(pause) from error


def _pause(beyond: int) -> int:
    """Seconds of the pause after so many failures beyond those that are allowed."""
    return min(LONGEST_PAUSE, 1 << min(beyond // _STEP, LONGEST_PAUSE))


def _is_token(credentials: Credentials) -> bool:
    return bool(read_token(credentials.secret) or read_token(credentials.username))


@lru_cache(4096)
def _address_of(client: str) -> str:
    """The address or network that counts as one; empty if there is none."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
