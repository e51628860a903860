"""A closure as a table for people."""

from __future__ import annotations

from collections.abc import Iterator

from pkgindex_mirror.amounts import amount
from pkgindex_mirror.closing.closure import Closure


def table(closure: Closure) -> Iterator[str]:
    """A line for each project, and one with the totals."""
    rows: list[tuple[str, int, int, str]] = [
        (name, len(project.versions), sum(1 for _ in project.files), amount(project.bytes))
        for name, project in closure.projects.items()
    ]
    rows.append((f"{len(closure.projects)} projects", closure.versions, closure.files, amount(closure.bytes)))
    width = max(len(name) for name, *_ in rows)
    yield f"{'':{width}}  {'versions':>8}  {'files':>8}  {'size':>10}"
    for name, versions, files, size in rows:
        yield f"{name:{width}}  {versions:8}  {files:8}  {size:>10}"
