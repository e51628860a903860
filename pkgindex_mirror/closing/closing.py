"""A closure, from what a user wants."""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.errors import Refused
from pkgindex_mirror.closing.candidates import SdistPolicy
from pkgindex_mirror.closing.closure import Closure, Mode
from pkgindex_mirror.closing.fixed_point import ClosingProgress, Constraints, FixedPoint
from pkgindex_mirror.closing.gathering import gathered
from pkgindex_mirror.closing.install_targets import TargetSet
from pkgindex_mirror.closing.locking import Locking
from pkgindex_mirror.closing.metadata_source import MetadataSource
from pkgindex_mirror.closing.settling import is_pinned
from pkgindex_mirror.prefetching.wanted import Wanted


async def close_over(
    wanted: Sequence[Wanted],
    source: MetadataSource,
    targets: TargetSet,
    *,
    mode: Mode = "all",
    constraints: Constraints | None = None,
    whole: bool = False,
    sdists: SdistPolicy = "needed",
    progress: ClosingProgress = lambda *_: None,
) -> Closure:
    """Find everything that installs what is wanted. `whole`: of lock files also the files for other targets.

    `constraints` bound the versions of all projects, but not those of locked files.

    Raises `Refused` when mode `locked` is given something that is not locked, and `Unavailable` when an answer is not known now.
    """
    if mode != "locked":
        point = FixedPoint(
            source, targets, newest=mode == "newest", constraints=constraints, sdists=sdists, progress=progress
        )
        await point.run(point.ask(wanted))
        return gathered(point, mode)
    problems = [f"{each.where}: {each.shown} names no exact version" for each in wanted if not _is_exact(each)]
    if problems:
        raise Refused(problems, hint="give a lock file, or use --mode all or --mode newest")
    # A lock file names no build requirements: of those the newest are taken.
    point = FixedPoint(source, targets, newest=True, constraints=constraints, sdists=sdists, progress=progress)
    locking = Locking(point, whole=whole)
    await point.run(*(locking.lock(each) for each in wanted))
    return gathered(point, mode, locking)


def _is_exact(wanted: Wanted) -> bool:
    return is_pinned(wanted.specifier) or bool(wanted.filenames) or bool(wanted.sha256s)
