"""Takes documentation: a zip for one version of a project. The answer is sent after the commit is durable.

    form and zip checked -> zip kept -> commit (requires that version and documentation are unchanged) -> done

The zip is kept whole, as `{project}-{version}.doc.zip`; it is not listed on the page. Documentation of a version without files
registers the version, as in devpi. Sending the same bytes again succeeds and changes nothing. Other bytes replace the documentation
in a volatile index, and are refused in others.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import AttachmentAbsent, Change, IndexIs, ProjectAt, PutAttachment, PutProject, PutRelease
from pkgindex_core.changes import Requirement as Guard
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Refused
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.archives.documentation import KIND, inspect_documentation
from pkgindex_core.formats.versions import canonical_version, is_pep440, version_key
from pkgindex_core.models import Attachment, Event, IndexConfig, PageHead, Release, Serial
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import Blob, IndexWriter, Principal, Projects, ReleaseRecords, Spool, Trees, UploadForm
from pkgindex_core.rules.access import open_project, publishing_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.writing.outcomes import DocumentationTaken, PublishedDocumentation
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.workers import in_worker


class _HeldVersion(Struct, frozen=True, kw_only=True):
    """The part of a project in an index on which documentation depends."""

    stamp: Serial
    head: PageHead
    shown: frozenset[str]
    """The versions on the page, with and without files."""
    release: Release | None
    """The stored metadata of the version."""
    documentation: tuple[Attachment, ...]

    def spelling(self, version: str) -> str:
        """The version in the project's spelling; unchanged when the project does not have it."""
        # Prefer the spelling of the metadata: filenames are normalised.
        return self.release.version if self.release is not None else _same(version, self.shown) or version


class _Store(Trees, Projects, ReleaseRecords, IndexWriter, Protocol): ...


class DocumentationUploads:
    """Keeps documentation in hosted indexes."""

    def __init__(self, *, store: _Store, workers: Executor, clock: Clock) -> None:
        self._store = store
        self._workers = workers
        self._clock = clock

    async def publish(
        self, spool: Spool, form: UploadForm, filename: str, *, index: IndexName, principal: Principal
    ) -> PublishedDocumentation:
        """Check the received zip and its form, keep it, and commit.

        `filename` is the client's name of the zip; it is kept under a name made of project and version.
        """
        project, problems = _project(form)
        if not filename.endswith(".zip"):
            problems.append(f"documentation is a zip, and the file is called {filename[:80]!a}")
        if project is None:
            raise Refused(problems)
        config = await self._permitted(index, principal, project)
        version = await self._version(config, project, form, problems)
        sha256 = Sha256(spool.hexdigest())
        await spool.flush()
        path = spool.path
        try:
            facts = await in_worker(self._workers, inspect_documentation, path)
        except Refused as error:
            raise Refused([*problems, *error.problems], hint=error.hint) from error
        if problems:
            raise Refused(problems)
        kept: Blob | None = None

        async def attempt(_turn: int) -> PublishedDocumentation:
            nonlocal kept
            config = await self._permitted(index, principal, project)
            held = await self._hold(config, project, version)
            spelled = held.spelling(version)
            former = _of_version(held.documentation, spelled)
            if former is not None and former.sha256 != sha256 and not config.volatile:
                raise DocumentationTaken(
                    f"{former.filename} already exists in non-volatile index",
                    hint="publish changed documentation with a new version; only a volatile index may overwrite",
                )
            # Also for bytes that are there already: this repairs a lost or damaged blob.
            kept = kept or await spool.keep()
            if former is not None and former.sha256 == sha256:
                return PublishedDocumentation(
                    index=index, project=project, attachment=former, created=False, warnings=facts.warnings
                )
            attachment = self._attachment(project, spelled, kept, former, index, principal)
            changes = _changes(index, project, form.first("name"), held, attachment, new=former is None)
            guards: list[Guard] = [IndexIs(config), ProjectAt(index, project, held.stamp)]
            if former is None:
                guards.append(AttachmentAbsent(index, project, attachment.filename))
            await self._store.apply(changes, who=principal.label, require=guards)
            return PublishedDocumentation(
                index=index, project=project, attachment=attachment, created=True, warnings=facts.warnings
            )

        return await until_committed(
            attempt, f"{project} changes faster than it can be written", hint="upload it again"
        )

    async def _permitted(self, index: IndexName, principal: Principal, project: ProjectName) -> IndexConfig:
        config = publishing_index(await self._store.tree(), index, principal, Action.UPLOAD_DOCS, project=project)
        (standing,) = await self._store.standings(project, [index])
        open_project(standing, project, "documentation")
        return config

    async def _version(self, config: IndexConfig, project: ProjectName, form: UploadForm, problems: list[str]) -> str:
        """The version of the documentation: that of the form, otherwise the newest in the index."""
        said = form.first("version")
        if said and is_pep440(said):
            return said
        held = await self._hold(config, project, said)
        if said:
            if held.release is None and not _same(said, held.shown):
                problems.append(f"invalid version {said[:80]!a}: it does not follow PEP 440")
            return said
        if not held.shown:
            # devpi's message, before the zip is read: there is no version for the documentation.
            raise Refused(
                [*problems, f"doczip has no version and {str(project)!r} has no releases to derive one from"],
                hint="upload the release first, or name the zip NAME-VERSION.doc.zip",
            )
        return max(held.shown, key=version_key)

    async def _hold(self, config: IndexConfig, project: ProjectName, version: str) -> _HeldVersion:
        (standing,) = await self._store.standings(project, [config.name])
        page = await self._store.page(config.name, project) if standing.holds else None
        if page is None:
            return _HeldVersion(
                stamp=standing.stamp, head=PageHead(), shown=frozenset(), release=None, documentation=()
            )
        return _HeldVersion(
            # The stamp that was read first: if the later read is newer, the commit's requirement fails.
            stamp=standing.stamp,
            head=page.head,
            shown=frozenset(page.head.versions) | {row.version for row in page.rows if row.version},
            release=await self._store.release(config.name, project, version),
            documentation=tuple(
                each for each in await self._store.attachments(config.name, project) if each.kind == KIND
            ),
        )

    def _attachment(
        self,
        project: ProjectName,
        version: str,
        blob: Blob,
        former: Attachment | None,
        index: IndexName,
        principal: Principal,
    ) -> Attachment:
        now = self._clock.now()
        upload = Event(what="upload", at=now, who=principal.name or "", target=index)
        history: tuple[Event, ...] = (upload,)
        if former is not None:
            count = max((event.count for event in former.history if event.what == "overwrite"), default=0)
            history = (Event(what="overwrite", at=now, count=count + 1), upload)
        return Attachment(
            kind=KIND,
            filename=former.filename if former is not None else f"{project}-{version}.doc.zip",
            version=former.version if former is not None else version,
            sha256=blob.sha256,
            size=blob.size,
            added=now,
            history=history,
        )


def _same(version: str, among: Iterable[str]) -> str:
    """The spelling in `among` of the same version; empty when there is none."""
    wanted = canonical_version(version)
    return min((each for each in among if canonical_version(each) == wanted), default="")


def _project(form: UploadForm) -> tuple[ProjectName | None, list[str]]:
    """The project of a form, and the problems of its fields."""
    problems = [
        f"the form has several values of {field}, and may have only one"
        for field in ("name", "version")
        if len({value.strip() for value in form.fields.get(field, ())}) > 1
    ]
    name = form.first("name")
    project = normalized_or_none(name)
    if project is None:
        problems.append(f"invalid project name {name[:80]!a}" if name else "the form has no field name")
    return project, problems


def _of_version(documentation: tuple[Attachment, ...], version: str) -> Attachment | None:
    wanted = canonical_version(version)
    return next((each for each in documentation if canonical_version(each.version) == wanted), None)


def _changes(
    index: IndexName, project: ProjectName, name: str, held: _HeldVersion, attachment: Attachment, *, new: bool
) -> list[Change]:
    """The changes that store documentation, and its project and version if the index does not have them.

    New documentation gives the project a new stamp, so that a concurrent drop of the version reads again.
    """
    version = attachment.version
    changes: list[Change] = []
    known = bool(_same(version, held.shown))
    if new or not known:
        versions = held.head.versions if known else (*held.head.versions, version)
        head = replace(held.head, display_name=held.head.display_name or name, versions=versions)
        changes.append(PutProject(index, project, head))
    if held.release is None:
        metadata = version_documents.bare(held.head.display_name or name, version)
        changes.append(PutRelease(index, project, Release(version=version, metadata=metadata)))
    changes.append(PutAttachment(index, project, attachment))
    return changes
