"""What an index has already, and whether a file may come beside it or in the place of something.

Asked twice: before a file is kept, and again for each attempt to commit it.
"""

from __future__ import annotations

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, PkgIndexError
from pkgindex_core.formats.filenames import UploadName, canonical_version, sdist_ending
from pkgindex_core.models import IndexConfig, Serial
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Projects, ReleaseRecords, Taken
from pkgindex_core.rules.access import open_project


async def check_filename(store: ReleaseRecords, config: IndexConfig, name: UploadName, sha256: Sha256) -> Taken | None:
    """Raise when the filename may not be used for these bytes; return what has it."""
    taken = await store.taken(config.name, name.filename)
    if taken is None:
        return None
    if taken.project != name.project:
        raise Conflict(f"File already exists: {name.filename} belongs to the project {taken.project}")
    if not is_same(taken, sha256) and not config.volatile:
        raise _name_taken(name.filename, taken)
    return taken


def is_same(taken: Taken | None, sha256: Sha256) -> bool:
    """Whether the name is that of a file with these very bytes."""
    return taken is not None and taken.live and taken.sha256 == sha256


async def check_release(store: Projects, index: IndexName, name: UploadName) -> Serial:
    """Raise what the project's other files and its status forbid; return the stamp of the project that was looked at."""
    (standing,) = await store.standings(name.project, [index])
    open_project(standing, name.project)
    if name.kind != "sdist" or not standing.file_count:
        return standing.stamp
    # One sdist per release, as on PyPI: another spelling of the same version is the only way to a second. Of old
    # times there may be one more in each other format, since `setup.py sdist` wrote several.
    page = await store.page(index, name.project)
    wanted = canonical_version(name.version)
    for row in page.rows if page else ():
        if (
            sdist_ending(row.filename) == sdist_ending(name.filename)
            and row.filename != name.filename
            and canonical_version(row.version) == wanted
        ):
            raise Conflict(f"File already exists: the release {wanted} has the source distribution {row.filename}")
    return standing.stamp


def _name_taken(filename: str, taken: Taken) -> PkgIndexError:
    if taken.live:
        return Conflict(
            f"File already exists: {filename} already exists in non-volatile index, with other bytes (sha256 {taken.sha256})",
            hint="publish the changed files under a new version; only a volatile index may overwrite",
        )
    return Conflict(
        f"This filename was previously used by a file that was deleted: {filename}",
        hint="publish under a new version; a name is never given to other bytes",
    )
