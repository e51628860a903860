"""Judges uploads by the policies of their index, and refuses what they block.

    index has policies? -> files of the release -> rules, with the inspected archive -> problems and warnings of the upload

The rules are those of pages as far as they are about files, and those about uploads alone (`rules.policing.kinds`). They are loaded when
an index with policies gets its first upload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Refused
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, IndexConfig, Tree, decode_file
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Build, InspectedUpload, Projects
from pkgindex_core.protocols.advisories import AdvisoryBook
from pkgindex_core.protocols.policies import Ruling
from pkgindex_core.rules.filtering import Judgement
from pkgindex_core.rules.policing.exemptions import exemptions_of
from pkgindex_core.rules.policing.kinds import KINDS
from pkgindex_core.rules.policing.lines import ServerPolicies, lines_of
from pkgindex_core.rules.policing.own_advisories import own_records
from pkgindex_core.rules.policing.policy_filter import PolicyFilter, made
from pkgindex_core.rules.policing.uploads import PolicedUpload


class HearsDecisions(Protocol):
    """Takes note of decisions."""

    def hear(self, project: ProjectName, judgements: Sequence[Judgement]) -> None: ...


class UploadPolicing:
    """Makes the checks of single uploads."""

    def __init__(
        self, *, store: Projects, server: ServerPolicies, book: AdvisoryBook, decisions: HearsDecisions, clock: Clock
    ) -> None:
        self._book = book
        self._store = store
        self._decisions = decisions
        self._server = server
        self._clock = clock
        self._rules: Sequence[PolicyFilter] = ()

    async def check(
        self, tree: Tree, config: IndexConfig, project: ProjectName, known: Mapping[str, Any]
    ) -> PolicyCheck | None:
        """The check of an upload to an index; None if the index has no policies. `known`: fields of the file that its archive does not tell."""
        if not lines_of(config) and not self._server.of(config):
            return None
        self._rules = self._rules or [made(kind, self._server, self._book) for kind in KINDS.values()]
        page = await self._store.page(config.name, project)
        files = [decode_file(row.body) for row in page.rows] if page is not None else []
        now = self._clock.now()
        return PolicyCheck(self._rules, Build(tree=tree, start=config.name, project=project, moment=now), files, known)

    @asynccontextmanager
    async def heard(self, check: PolicyCheck | None) -> AsyncIterator[None]:
        """Take note of the rulings of a check behind it, also if it refused the upload."""
        try:
            yield
        finally:
            if check is not None:
                self._decisions.hear(check.project, check.judgements)


class PolicyCheck:
    """An `UploadCheck` of one upload. It remembers what it warned of."""

    def __init__(
        self, rules: Sequence[PolicyFilter], build: Build, files: Sequence[File], known: Mapping[str, Any]
    ) -> None:
        self._rules = rules
        self._build = build
        self.project = build.project
        self._files = files
        self._known = known
        self.judgements: list[Judgement] = []
        self.warnings: list[str] = []

    def problems(self, upload: InspectedUpload) -> Sequence[str]:
        """A sentence for each ruling that blocks the upload."""
        file = replace(upload.file, **self._known)
        version = canonical_version(file.version)
        policed = PolicedUpload(
            index=upload.index,
            project=upload.project,
            file=file,
            release=[each for each in self._files if canonical_version(each.version) == version],
            metadata=upload.metadata,
            members=cache(lambda: _members(upload.path)) if file.filename.endswith(".whl") else None,
        )
        problems: list[str] = []
        for rule in self._rules:
            ruling = rule.judge_upload(policed, self._build)
            if ruling is None:
                continue
            self.judgements.append(Judgement(file.filename, file.version, upload.index, rule.rule, ruling))
            if ruling.hides:
                problems.append(_sentence(ruling))
            elif ruling.mode == "warn":
                self.warnings.append(_sentence(ruling))
        return problems


def same_terms(one: IndexConfig, other: IndexConfig) -> bool:
    """Whether two configurations of an index judge its uploads alike."""
    return one is other or _terms_of(one) == _terms_of(other)


def _terms_of(config: IndexConfig) -> object:
    return config.upload_rules, config.needs_blobs, lines_of(config), exemptions_of(config), own_records(config)


def _members(wheel: Path) -> Sequence[str]:
    """The names in a wheel. One that cannot be read, as a mirror may have it and a push may bring it, is `Refused`."""
    import zipfile  # at the first wheel: a server starts without it

    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.namelist()
    # Of a directory that is damaged, needs a newer version of zip, or has a name that is not UTF-8.
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise Refused(f"it cannot be read as a wheel: {error}") from error


def _sentence(ruling: Ruling) -> str:
    return f"the policy {ruling.rule} of this index: {ruling.reason}"
