"""The provenance of mirrored files: fetched when a client or a policy asks for it, kept as a note, and verified if the packages are there.

    file.provenance, a URL of the page -> document -> attestations of this very file? signatures? -> `File.publisher`

What does not hold is refused and not kept: a changed document never counts as the word of the upstream. Where nothing can verify, the document
is passed on and the file gets no publisher. A file whose publisher differs from that of the project's newest file before it is told in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from contextlib import suppress
from heapq import nlargest
from typing import Final, Protocol

from msgspec.structs import replace

from pkgindex_core.errors import BadUpstream, Missing, PkgIndexError, Refused, Unavailable
from pkgindex_core.formats.attestations import AttestationBundle, about_another_file, read_provenance
from pkgindex_core.formats.publishers import PublisherIdentity, parse_publisher
from pkgindex_core.models import File, IndexConfig, PageRow, decode_file
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Notes, Projects
from pkgindex_core.protocols.attestations import AttestationVerifier
from pkgindex_core.rules.policing.kinds import PUBLISHED_BY, PUBLISHER_CHANGE
from pkgindex_core.rules.policing.lines import ServerPolicies, candidates, lines_of, parsed_lines
from pkgindex_core.rules.policing.publisher_filters import change_of
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror import urls
from pkgindex_mirror.readthrough.files.mirrored_files import Amend
from pkgindex_mirror.upstreams.sites import usable_site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed

KIND: Final = "provenance"
_ACCEPT: Final = "application/vnd.pypi.integrity.v1+json, application/json;q=0.5"
_KEPT_SECONDS: Final = 86_400.0
"""How long a document is kept. Attestations may be added to a provenance later."""
_MOST_BYTES: Final = 1024 * 1024
_WATCHED: Final = 20
"""Files of a page that are verified without being asked for."""
_AT_ONCE: Final = 2
"""Pages whose files are verified at once."""

_log = logging.getLogger(__name__)


class _Store(Projects, Notes, Protocol): ...


class MirroredProvenance:
    """Reads the provenance of the files of all mirrors."""

    def __init__(
        self,
        *,
        client: UpstreamClient,
        store: _Store,
        workers: Executor,
        tasks: Tasks,
        amend: Amend,
        verifier: Callable[[], AttestationVerifier | None],
    ) -> None:
        self._client = client
        self._store = store
        self._workers = workers
        self._amend = amend
        self._verifier = verifier
        self._flights: SingleFlight[tuple[bytes, str]] = SingleFlight(tasks)
        self._watching: SingleFlight[None] = SingleFlight(tasks, turns=_AT_ONCE)

    async def read(self, index: IndexConfig, project: ProjectName, file: File) -> tuple[bytes, str]:
        """As `Proving.provenance`."""
        key = f"{index.name}/{file.filename}/{file.sha256}"
        note = await self._store.note(KIND, key)
        if note is not None:
            return note.value, file.publisher
        return await self._flights.get(key, lambda: self._fetched(index, project, file, key))

    def watch(self, index: IndexConfig, project: ProjectName, policies: ServerPolicies) -> None:
        """Begin to verify the newest files of a page, if a policy of the index looks at their publishers."""
        lines = parsed_lines((*policies.of(index), *lines_of(index)))
        if any(candidates(lines, rule, project).lines for rule in (PUBLISHED_BY, PUBLISHER_CHANGE)):
            with suppress(Unavailable):
                self._watching.join(
                    (index.name, project), lambda: self._verify_newest(index, project), name=f"publishers of {project}"
                )

    async def _verify_newest(self, index: IndexConfig, project: ProjectName) -> None:
        page = await self._store.page(index.name, project)
        rows = page.rows if page is not None else ()
        files = [decode_file(row.body) for row in rows if b"provenance" in row.body]
        unknown = [file for file in files if file.provenance and not file.publisher]
        newest = nlargest(_WATCHED, unknown, key=lambda file: file.shown_time or 0)
        for file in reversed(newest):  # each is compared with those before it
            with suppress(PkgIndexError):
                await self.read(index, project, file)

    async def _fetched(self, index: IndexConfig, project: ProjectName, file: File, key: str) -> tuple[bytes, str]:
        answer = await self._client.document(usable_site(index), file.provenance, accept=_ACCEPT)
        if isinstance(answer, AbsentAnswer):
            raise Missing("provenance", file.filename, hint="the page of the upstream names one, which is not there")
        if isinstance(answer, Failed):
            raise answer.error(f"the provenance of {file.filename}")
        if not isinstance(answer, Document) or len(answer.body) > _MOST_BYTES:
            raise BadUpstream(f"the provenance of {file.filename} is larger than {_MOST_BYTES} bytes")
        publisher = await self._verified(file, answer.body)
        await self._store.put_note(KIND, key, answer.body, seconds=_KEPT_SECONDS)
        if publisher is not None and str(publisher) != file.publisher:
            await self._record(index, project, file, publisher)
        return answer.body, str(publisher or "")

    async def _verified(self, file: File, document: bytes) -> PublisherIdentity | None:
        """The publisher, if it can be verified here."""
        try:
            bundles = read_provenance(document)
            problems = [
                problem
                for bundle in bundles
                for each in bundle.attestations
                if file.sha256 is not None
                for problem in about_another_file(each, file.filename, file.sha256)
            ]
            if problems:
                raise Refused(problems)
            verifier = self._verifier()
            if verifier is None or file.sha256 is None:
                return None
            return await in_worker(self._workers, _signed, verifier, bundles)
        except Refused as error:
            _log.error("%s: the provenance is refused: %s", urls.shown(file.provenance), error)
            raise BadUpstream(
                f"the provenance of {file.filename} is not right: {error}",
                hint="see the page of the project at its upstream",
            ) from error

    async def _record(self, index: IndexConfig, project: ProjectName, file: File, publisher: PublisherIdentity) -> None:
        """Tell the store the publisher, and the one before if it was another."""
        page = await self._store.page(index.name, project)
        former = _former(page.rows if page is not None else (), file)
        differs = former is not None and bool(former.differences(publisher))

        def proven(now: File) -> File:
            if now.sha256 != file.sha256:
                return now
            return replace(now, publisher=str(publisher), former_publisher=str(former) if differs else "")

        if differs:
            _log.warning("%s: %s", index.name, change_of(proven(file)))
        await self._amend(index, project, {file.filename: proven})


def _signed(verifier: AttestationVerifier, bundles: tuple[AttestationBundle, ...]) -> PublisherIdentity | None:
    """The publisher of the first bundle, after all attestations were verified and fit the publishers that the document names."""
    found: list[PublisherIdentity] = []
    for bundle in bundles:
        for each in bundle.attestations:
            signer = parse_publisher(verifier.verify(each.document).publisher)
            if bundle.publisher is None:
                raise Refused(f"expected the publisher {signer}, found one of an unknown kind")
            # Certificates do not have the environment: it is the word of the upstream, which checked it at the upload.
            if differences := replace(bundle.publisher, environment="").differences(signer):
                raise Refused(differences)
            found.append(bundle.publisher)
    return found[0] if found else None


def _former(rows: Collection[PageRow], new: File) -> PublisherIdentity | None:
    """The publisher of the newest file that is older than this one."""
    files = [decode_file(row.body) for row in rows if b"publisher" in row.body and row.filename != new.filename]
    older = [each for each in files if each.publisher and (each.shown_time or 0) <= (new.shown_time or 0)]
    newest = max(older, key=lambda each: each.shown_time or 0, default=None)
    return None if newest is None else replace(parse_publisher(newest.publisher), environment="")
