"""Hosts of upstreams: how many requests are under way, whether they answer, and how long callers waited in vain.

A question is asked as often as its policy says (`attempts`). A host that keeps failing is left alone for a while (`breaker`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from pkgindex_core.clock import Clock
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_mirror import urls
from pkgindex_mirror.retry import RetryPolicy
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.breaker import CircuitBreaker
from pkgindex_mirror.upstreams.slots import Slots
from pkgindex_mirror.upstreams.upstream_answers import Failed
from pkgindex_mirror.upstreams.upstream_counts import UpstreamCounts

_LIMIT: Final = 1000
"""Hosts to remember: pages may name any number."""
_AT_ONCE: Final = 4
"""Hosts from which the largest number of files can be fetched at the same time."""
_FIRST_PROBE: Final = 1.0
_LEAST: Final = 1.0
"""Shortest wait for a host in seconds. Other callers may have waited in vain before, but a fast answer still counts."""

_log = logging.getLogger(__name__)


class Host:
    """The state of one origin."""

    def __init__(self, breaker: CircuitBreaker, *, pages: int, files: int, requests: int) -> None:
        self.breaker = breaker
        self.pages = Slots(pages)
        self.files = Slots(files)
        self.requests = Slots(requests)
        self.last: Failed | None = None
        """The last failure; None after a success."""
        self.waited = 0.0
        """Longest time in seconds that a caller waited in vain since the last answer."""
        self.sent: dict[str, float] = {}
        """Monotonic times at which the requests under way were sent, by URL."""


class Trail:
    """Where the redirects of one request have led."""

    def __init__(self, counts: UpstreamCounts) -> None:
        self.counts = counts
        """Those of the origin that was asked."""
        self.left = False
        """The origin that was asked redirected to another origin."""


Value = TypeVar("Value")


class Hosts:
    """The hosts that a client has asked."""

    def __init__(
        self,
        settings: MirrorSettings,
        clock: Clock,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._dice = dice
        self._known: BoundedCache[urls.Origin, Host] = BoundedCache(_LIMIT)
        self._files = Slots(settings.concurrent_files * _AT_ONCE)

    def of(self, url: str) -> Host:
        where = urls.origin(url)
        host = self._known.get(where)
        if host is None:
            settings = self._settings
            host = Host(
                CircuitBreaker(
                    failures=settings.breaker_failures, interval=settings.breaker_interval, first=_FIRST_PROBE
                ),
                pages=settings.concurrent_pages,
                files=settings.concurrent_files,
                requests=settings.concurrent_requests,
            )
            self._known.put(where, host)
        return host

    @asynccontextmanager
    async def file_slot(self, url: str) -> AsyncIterator[None]:
        """Wait for one of the `concurrent_files` of a host."""
        async with self.of(url).files, self._files:
            yield

    async def pause(self, url: str, attempt: int) -> None:
        """Wait before a broken transfer is resumed, at least until its host may be asked."""
        wait = self._settings.page_policy().wait(
            min(attempt, self._settings.attempts - 1), elapsed=0.0, dice=self._dice()
        )
        await self._sleep(max(wait or 0.0, self.of(url).breaker.remaining(self._clock.monotonic())))

    def is_left_alone(self, origin: urls.Origin) -> bool:
        """Whether the circuit breaker of a host is open."""
        host = self._known.get(origin)
        return host is not None and host.breaker.is_open

    def load(self) -> tuple[int, int]:
        """The requests under way to all hosts, and the questions that wait for their turn."""
        hosts = [host for _, host in self._known.items()]
        waiting = sum(host.pages.waiting + host.files.waiting + host.requests.waiting for host in hosts)
        return sum(host.requests.used for host in hosts), waiting + self._files.waiting

    def patience(self, url: str, seconds: float, *, least: float = _LEAST) -> float:
        """How long to wait for a host: `seconds`, less the time that callers waited in vain since its last answer."""
        host = self.of(url)
        return max(0.0 if host.breaker.is_open else seconds - host.waited, min(least, seconds))

    def waited_in_vain(self, url: str, seconds: float, begun: float) -> None:
        """Record that a host gave no answer to a URL within `seconds` from `begun` (monotonic).

        Only the time since the request was sent counts: the queue here and the store are not the host's fault.
        """
        host = self.of(url)
        sent = host.sent.get(url)
        if sent is not None:
            host.waited = max(host.waited, seconds - max(sent - begun, 0.0))

    async def attempts(
        self,
        url: str,
        policy: RetryPolicy,
        once: Callable[[Trail], Awaitable[Value | Failed]],
        counts: UpstreamCounts,
    ) -> Value | Failed:
        """Ask `once`, and again as the policy says, until the host gives an answer. The outcome counts for its breaker."""
        host = self.of(url)
        most = 1 if host.breaker.is_open else policy.attempts  # a probe is one attempt
        begun = self._clock.monotonic()
        failed = Failed(reason="not asked")
        trail = Trail(counts)
        host.sent.setdefault(url, begun)
        try:
            async with asyncio.timeout(policy.deadline):
                for attempt in range(1, most + 1):
                    if refusal := self.refused(host, url):
                        return refusal
                    host.breaker.permits(self._clock.monotonic())
                    trail = Trail(counts)
                    outcome = await once(trail)
                    if not isinstance(outcome, Failed):
                        self._succeeded(host, url)
                        return outcome
                    failed = outcome
                    counts.failed(failed.kind)
                    if not failed.again or attempt == most:
                        break
                    pause = policy.wait(
                        attempt,
                        elapsed=self._clock.monotonic() - begun,
                        dice=self._dice(),
                        retry_after=failed.retry_after,
                    )
                    if pause is None:
                        break
                    _log.info("asking %s again in %.1f s: %s", urls.shown(url), pause, failed.reason)
                    await self._sleep(pause)
        except TimeoutError:
            reason = f"no whole answer within {policy.deadline:.0f} s"
            failed = Failed(reason=reason, kind="timeout", again=True, healthy=False)
            counts.failed(failed.kind)
        finally:
            host.sent.pop(url, None)
        if trail.left and failed.healthy is not True:
            # The asked host works, and the redirect leads to one that may not. `waited` stays, so that callers do not wait again.
            self._works(host, url)
        elif failed.healthy:
            self._succeeded(host, url)
        elif failed.healthy is not None:
            was_open = host.breaker.is_open
            host.last = failed
            host.breaker.failed(self._clock.monotonic(), down=failed.down, rest=failed.rest)
            if host.breaker.is_open and not was_open:
                _log.warning("%s is not asked for a while: %s", urls.origin(url), failed.reason)
        return failed

    def refused(self, host: Host, url: str) -> Failed | None:
        """The failure of a request that is not sent, since the breaker of the host is open or the server is offline. None: the host may be asked."""
        if self._settings.offline:
            return Failed(reason="this server is offline (setting offline of the mirror plugin)", asked=False)
        if host.last is None or not host.breaker.remaining(self._clock.monotonic()):
            return None
        reason = f"{urls.origin(url)} failed a moment ago: {host.last.reason}"
        return Failed(reason=reason, again=host.last.again, asked=False)

    def _succeeded(self, host: Host, url: str) -> None:
        self._works(host, url)
        host.waited = 0.0

    def _works(self, host: Host, url: str) -> None:
        if host.breaker.is_open:
            _log.warning("%s answers again", urls.origin(url))
        host.breaker.succeeded()
        host.last = None
