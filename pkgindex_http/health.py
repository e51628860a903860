"""`/+live` and `/+ready`: whether the process runs, and whether it should get requests. The answers have no names of indexes or files."""

from __future__ import annotations

import asyncio
from typing import Final

from pkgindex_core.engine import Engine
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.tools.single_flight import Flight, SingleFlight
from pkgindex_http.replies import Reply, json_reply, text_reply
from pkgindex_http.requests import Ask

_ANSWER_SECONDS: Final = 0.9
"""Seconds for each store. Load balancers commonly wait for two seconds."""
_PROBE_SECONDS: Final = 5.0
_PROBE_BYTES: Final = 256 * 1024


class Readiness:
    """Tells which parts of one server work."""

    def __init__(self, engine: Engine) -> None:
        self.stopping = False
        self._engine = engine
        self._probed = 0.0
        self._probes: SingleFlight[PkgIndexError | None] = SingleFlight()
        self._probe: Flight[PkgIndexError | None] | None = None

    async def parts(self) -> dict[str, bool]:
        """Whether the server is `stopping`, and whether each store answers in time."""
        parts = {"stopping": self.stopping, "index_store": True, "blob_store": True}
        for part, question in (("index_store", self._engine.store.head), ("blob_store", self._blob_probe)):
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await question()
            except (PkgIndexError, TimeoutError):
                parts[part] = False
        return parts

    async def _blob_probe(self) -> None:
        """Write and read a blob, so that a full or read-only disk is noticed before an upload fails.

        Probes run one at a time and at most every few seconds, since every client may call `/+ready`.
        """
        now = self._engine.clock.monotonic()
        if self._probe is None or (self._probe.done and now - self._probed >= _PROBE_SECONDS):
            self._probed = now
            self._probe = self._probes.join("", self._probe_blobs)
        failure = await self._probe.result()
        if failure is not None:
            raise Unavailable(failure.message, hint=failure.hint)

    async def _probe_blobs(self) -> PkgIndexError | None:
        blobs = self._engine.blobs
        try:
            async with blobs.spool() as spool:  # new bytes need room; the small blob below is stored already
                await spool.write(bytes(_PROBE_BYTES))
                await spool.flush()
            probe = await blobs.put(b"pkgindex readiness probe\n")
            if await blobs.stat(probe.sha256) is None:
                return Unavailable("the blob store lost a blob that was just written")
        except PkgIndexError as error:
            return error
        return None


async def live(ask: Ask) -> Reply:  # noqa: ARG001 - handlers have one signature
    """Answer without asking a store: a server with a broken disk is alive."""
    return text_reply("alive", headers={"Cache-Control": "no-store"})


async def ready(ask: Ask) -> Reply:
    """Whether this server should get requests: 503 while it stops, or when a store does not answer."""
    parts = await ask.readiness()
    good = parts["index_store"] and parts["blob_store"] and not parts["stopping"]
    return json_reply({"ready": good, **parts}, status=200 if good else 503, headers={"Cache-Control": "no-store"})
