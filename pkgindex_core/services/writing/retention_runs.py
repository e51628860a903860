"""Applies the retention rules of all indexes once an hour while servers run: one server at a time does it, by a lease.

The lease ends with its holder, and another server takes over. The commits of a server that lost it meanwhile do no harm: they require that
page and rule are unchanged (`retaining`). While no index has a rule, there is no lease, and nothing is loaded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Follower, Notes, Trees
from pkgindex_core.rules.kept_options import retention_rule
from pkgindex_core.tools import leases

if TYPE_CHECKING:
    from pkgindex_core.services.writing.retaining import Retaining

LEASE: Final = "retention"
PAUSE_SECONDS: Final = 3600.0
"""Seconds between two runs, and between two looks for rules."""
_LEASE_SECONDS: Final = 60.0
_TURN_SECONDS: Final = 600.0
"""Seconds between two attempts to get the lease."""

_log = logging.getLogger(__name__)


class _Store(Trees, Notes, Protocol): ...


class RetentionRuns:
    """The follower that applies the rules. `retaining` is called when an index has a rule."""

    def __init__(
        self,
        store: _Store,
        retaining: Callable[[], Retaining],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._retaining = retaining
        self._sleep = sleep

    async def follow(self) -> None:
        while True:
            if await self._ruled():
                await leases.while_held(
                    self._store,
                    LEASE,
                    f"{socket.gethostname()} {os.getpid()}",
                    self._run_all,
                    seconds=_LEASE_SECONDS,
                    pause=lambda: self._sleep(_TURN_SECONDS),
                )
            await self._sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def _ruled(self) -> list[IndexName]:
        """The indexes with a rule that can be applied."""
        configs = (await self._store.tree()).indexes.values()
        return [
            each.name for each in configs if each.needs_blobs and not each.read_only and retention_rule(each).removes
        ]

    async def _run_all(self, held: leases.HeldLease) -> None:
        """Apply all rules, again and again until no index has one."""
        while indexes := await self._ruled():
            for index in indexes:
                await self._run(index, held)
            await self._sleep(PAUSE_SECONDS)

    async def _run(self, index: IndexName, held: leases.HeldLease) -> None:
        try:
            judged = await self._retaining().retain(index, dry_run=False, held=held)
        except PkgIndexError as error:
            _log.warning("the retention of %s is put off: %s", index, error)
            return
        for each in judged:
            for verdict in each.verdicts:
                if verdict.goes:
                    _log.info("%s: %s %s was removed: %s", index, each.project, verdict.version, verdict.reason)


if TYPE_CHECKING:
    _: type[Follower] = RetentionRuns
