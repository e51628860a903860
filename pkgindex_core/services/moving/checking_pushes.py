"""Checks the files that a push brings to an index, as uploads to it are checked: by plugins, and by the policies of the index.

bytes as a local file -> metadata of the archive -> checks -> problems of all files -> refused
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.models import File, IndexConfig, Release, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import BlobStore, InspectedUpload, UploadCheck, UploadForm
from pkgindex_core.services.moving.pushable_releases import PushableRelease
from pkgindex_core.services.writing.policing import UploadPolicing, same_terms
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.workers import in_worker


class PushChecks:
    """The checks of pushes."""

    def __init__(
        self, *, blobs: BlobStore, checks: Sequence[UploadCheck], policing: UploadPolicing, workers: Executor
    ) -> None:
        """`checks` are those of plugins."""
        self.blobs = blobs
        self.plugins = checks
        self.policing = policing
        self.workers = workers

    def of_a_push(self) -> CheckedPush:
        """The checks of one push, which may be planned several times."""
        return CheckedPush(self)


class CheckedPush:
    """Remembers which files were checked, so that a push that is planned again does not check them again."""

    def __init__(self, checks: PushChecks) -> None:
        self._checks = checks
        self._checked: set[str] = set()
        self._goal: IndexConfig | None = None

    async def check(self, tree: Tree, goal: IndexConfig, pushable: PushableRelease, *, skip: Sequence[File]) -> None:
        """Check the files that are new at the target. `skip` are those that it has. Raises `Refused` with the problems of all."""
        if self._goal is None or not same_terms(self._goal, goal):
            self._checked.clear()
        self._goal = goal
        policies = await self._checks.policing.check(tree, goal, pushable.project, {})
        checks = self._checks.plugins if policies is None else (*self._checks.plugins, policies)
        known = {(file.filename, file.sha256) for file in skip}
        problems: list[str] = []
        async with self._checks.policing.heard(policies):
            for file in pushable.holding.files if checks else ():
                if file.sha256 is None or file.filename in self._checked or (file.filename, file.sha256) in known:
                    continue
                async with self._local(file.sha256, file.filename) as path:
                    judge = partial(_judged, goal.name, pushable, checks, file, path)
                    problems += await in_worker(self._checks.workers, judge)
                self._checked.add(file.filename)
        if problems:
            raise Refused(problems)

    @asynccontextmanager
    async def _local(self, key: Sha256, filename: str) -> AsyncIterator[Path]:
        """A blob as a local file for reading; a temporary copy if the store has no local files."""
        place = await self._checks.blobs.locate(key, filename=filename)
        try:
            if isinstance(place, Path):
                yield place
                return
            async with self._checks.blobs.spool() as spool:
                async for chunk in self._checks.blobs.read(key):
                    await spool.write(chunk)
                await spool.flush()
                yield spool.path
        except OSError as error:
            raise storage_failure(error, "checking a push") from error


def _judged(
    target: IndexName, pushable: PushableRelease, checks: Sequence[UploadCheck], file: File, path: Path
) -> list[str]:
    """Run checks on one file, in a worker thread; return the problems."""
    try:
        name = parse_upload_filename(file.filename, LENIENT, project=pushable.project)
        metadata = inspect_archive(path, name, rules=LENIENT).metadata or b""
    except Refused:
        metadata = b""  # a mirror may have files that are not accepted as uploads
    upload = InspectedUpload(
        index=target,
        project=pushable.project,
        file=file,
        form=_form(pushable.holding.releases),
        metadata=metadata,
        path=path,
    )
    return [problem for check in checks for problem in check.problems(upload)]


def _form(releases: Sequence[Release]) -> UploadForm:
    """The metadata of a release as the fields of an upload form, for the checks."""
    fields: dict[str, tuple[str, ...]] = {}
    for release in releases:
        for name, value in msgspec.json.decode(release.metadata, type=dict[str, object]).items():
            values = value if isinstance(value, list) else [value]
            fields[name] = tuple(each for each in values if isinstance(each, str) and each)
    return UploadForm(fields={name: values for name, values in fields.items() if values})
