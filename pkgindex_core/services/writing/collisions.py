"""Checks whether an index can take a file: its filename may be taken, its release may have such a file, or a quota may be full.

Called before a file is kept, and again for each attempt to commit it.
"""

from __future__ import annotations

from typing import Protocol

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, FileTaken
from pkgindex_core.formats.filenames import UploadName, canonical_version, sdist_ending
from pkgindex_core.models import IndexConfig, Serial
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import WHOLE_INDEX, Projects, Taken, Trees
from pkgindex_core.rules.access import open_project
from pkgindex_core.rules.kept_options import quotas
from pkgindex_core.rules.namespaces import require_namespace
from pkgindex_core.rules.quotas import check_file, check_growth, size_of


class _Store(Trees, Projects, Protocol): ...


def check_filename(taken: Taken | None, config: IndexConfig, name: UploadName, sha256: Sha256) -> None:
    """Raise `Conflict` if the filename may not be used for these bytes. `taken` is the live file or tombstone of that name."""
    if taken is None:
        return
    if taken.project != name.project:
        raise FileTaken(f"{name.filename} belongs to the project {taken.project}")
    if not is_same(taken, sha256) and not config.volatile:
        raise _name_taken(name.filename, taken)


async def check_quotas(store: Projects, config: IndexConfig, name: UploadName, size: int) -> None:
    """Raise if the index has no room for a file, so that its bytes are not stored first. The commit requires it again."""
    if not quotas(config).bounds:
        return
    check_file(config, name.filename, size)
    replaced = await store.file(config.name, name.project, name.filename)
    used = {each: await store.stored_bytes(config.name, each) for each in (name.project, WHOLE_INDEX)}
    check_growth(config, used, {name.project: size - (size_of(replaced) if replaced else 0)})


def is_same(taken: Taken | None, sha256: Sha256) -> bool:
    """Whether the filename has a live file with these bytes."""
    return taken is not None and taken.live and taken.sha256 == sha256


async def check_release(store: _Store, index: IndexName, name: UploadName, *, known: Serial | None = None) -> Serial:
    """Raise when the project's status or its other files forbid the file; return the project's stamp.

    `known`: the stamp at which the files did not forbid it.
    """
    (standing,) = await store.standings(name.project, [index])
    open_project(standing, name.project)
    require_namespace(await store.tree(), standing, name.project)
    if name.kind != "sdist" or not standing.file_count or standing.stamp == known:
        return standing.stamp
    # One sdist for each release, as on PyPI. A second one is possible only under another spelling of the version. Old
    # releases may have one more in each other format, since `setup.py sdist` wrote several.
    page = await store.page(index, name.project)
    wanted = canonical_version(name.version)
    for row in page.rows if page else ():
        if (
            canonical_version(row.version) == wanted  # first, since few files have it
            and row.filename != name.filename
            and sdist_ending(row.filename) == sdist_ending(name.filename)
        ):
            raise FileTaken(f"the release {wanted} has the source distribution {row.filename}")
    return standing.stamp


def _name_taken(filename: str, taken: Taken) -> Conflict:
    if taken.live:
        return FileTaken(
            f"{filename} already exists in non-volatile index, with other bytes (sha256 {taken.sha256})",
            hint="publish the changed files under a new version; only a volatile index may overwrite",
        )
    return Conflict(
        f"This filename was previously used by a file that was deleted: {filename}",
        hint="publish under a new version; a name is never given to other bytes",
    )
