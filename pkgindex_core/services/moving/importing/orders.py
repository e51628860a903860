"""Reports filenames for which an imported index shows another file than devpi 7 did.

devpi 7.0 merges indexes in another order (`formats.devpi.merge_order`). This matters only when two of them have different files of
one name: a lock file with the hash then fails, so each such file is reported. The files of mirrors are unknown here, so only a
different order of mirrors is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Protocol

from pkgindex_core.formats.devpi.merge_order import merge_order
from pkgindex_core.models import IndexConfig, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Projects, Trees
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.services.moving.importing.report import ImportReport

_SHOWN = 20


class _Store(Trees, Projects, Protocol): ...


async def compare_orders(store: _Store, report: ImportReport, indexes: Iterable[IndexConfig]) -> None:
    """Add a remark for every file that one of these indexes shows with other bytes than devpi 7.0 did."""
    tree = await store.tree()
    names: dict[IndexName, set[ProjectName]] = {}
    for config in indexes:
        ours, theirs = lineage(tree, config.name).order, merge_order(tree, config.name)
        if ours == theirs:
            continue
        mirrors = {index for index in ours if tree.indexes[index].mirrored}
        _compare_mirrors(report, config.name, *([one for one in order if one in mirrors] for order in (ours, theirs)))
        hosted, before = ([one for one in order if one not in mirrors] for order in (ours, theirs))
        for index in hosted:
            if index not in names:
                names[index] = {row.name for row in await store.projects(index)}
        turned = [(one, other) for one, other in combinations(hosted, 2) if before.index(one) > before.index(other)]
        for project in sorted(set().union(*(names[one] & names[other] for one, other in turned))):
            await _compare_files(store, report, config.name, project, hosted, before)


def _compare_mirrors(
    report: ImportReport, index: IndexName, ours: Sequence[IndexName], theirs: Sequence[IndexName]
) -> None:
    if ours != theirs:
        report.changed(
            "index",
            index,
            f"of files of one name devpi 7.0 took that of the first of {', '.join(theirs)}; here the first is that of {ours[0]},"
            " as its bases name them",
        )


async def _compare_files(
    store: Projects,
    report: ImportReport,
    index: IndexName,
    project: ProjectName,
    ours: Sequence[IndexName],
    theirs: Sequence[IndexName],
) -> None:
    held: dict[IndexName, dict[str, str]] = {}
    for layer in ours:
        page = await store.page(layer, project)
        held[layer] = {row.filename: decode_file(row.body).sha256 or "" for row in page.rows} if page else {}
    now, before = (
        {name: (layer, held[layer][name]) for layer in reversed(order) for name in held[layer]}
        for order in (ours, theirs)
    )
    other = [
        f"{name} is that of {now[name][0]}, and was that of {before[name][0]}"
        for name in sorted(now)
        if now[name][1] != before[name][1]
    ]
    if other:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        report.changed(
            "project",
            f"{index} {project}",
            f"devpi 7.0 merges bases in another order, so {'; '.join(other[:_SHOWN])}{more}",
        )
