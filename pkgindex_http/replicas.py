"""The state of a replica in `/+ready`, `/+status` and `/+metrics`. `admitting` refuses the requests that a replica does not answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.engine import Engine
from pkgindex_core.protocols.measuring import Figures, Meter

SERIALS: Final = Meter(
    "pkgindex_replica_lag_serials", "gauge", (), "Commits of the primary that a replica lacks, as far as it knows."
)
SECONDS: Final = Meter(
    "pkgindex_replica_lag_seconds",
    "gauge",
    (),
    "Seconds since a replica last had all commits of its primary; 0 while it has them and the primary answers.",
)
FOLLOWS: Final = Meter(
    "pkgindex_replica_follows", "gauge", (), "1 if the primary of a replica answered last time, otherwise 0."
)
METERS: Final = (SERIALS, SECONDS, FOLLOWS)


class ReplicaReport(Struct, frozen=True, kw_only=True):
    """The part of `/+ready` about a replica. It names no index and no URL."""

    follows: bool
    whole: bool
    """False: the first copy, or one after a long time, is under way, and requests are 503."""
    lag_serials: int
    lag_seconds: float


async def report_of(engine: Engine) -> ReplicaReport | None:
    """The state of a replica; None for other servers."""
    state = engine.replica
    if state is None:
        return None
    head = await engine.store.head()
    lag = state.lag(head)
    return ReplicaReport(
        follows=state.follows,
        whole=state.is_whole(head),
        lag_serials=lag.serials,
        lag_seconds=round(lag.seconds, 3),
    )


async def figures_of(engine: Engine) -> Sequence[Figures]:
    """The lag of a replica, for Prometheus; nothing for other servers."""
    report = await report_of(engine)
    if report is None:
        return ()
    values = (report.lag_serials, report.lag_seconds, float(report.follows))
    return [Figures(meter, {(): float(value)}) for meter, value in zip(METERS, values, strict=True)]


async def status_of(engine: Engine, *, runs: bool) -> dict[str, Any]:
    """The fields of `/+status` about a replica, which have devpi's names as far as devpi has them. `runs`: the caller is an administrator."""
    state = engine.replica
    if state is None:
        return {"role": "MASTER"}
    head = await engine.store.head()
    lag = state.lag(head)
    note = state.note
    seconds = (state.contacted or 0) / 1_000_000
    return {
        "role": "REPLICA",
        "primary-url": state.primary,
        "primary-uuid": note.store if note else "",
        "primary-serial": max(state.head_there, head),
        "primary-contacted-at": seconds,
        "replica-follows": state.follows,
        "replica-whole": state.is_whole(head),
        "replica-lag-serials": lag.serials,
        "replica-lag-seconds": round(lag.seconds, 3),
        "replica-copies": "everything" if note and note.everything else "indexes",
        "replica-without": {**state.left_out, **dict.fromkeys(note.without if note else (), _PAST_MISSES)}
        if runs
        else {},
        "replica-problem": state.problem,
    }


_PAST_MISSES: Final = "the token may read it since after the copy was begun; begin it anew to have it"
