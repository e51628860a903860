"""The pure roles: which layers join a page, which files are hidden, what an upload must satisfy, how a page is written.

None of them waits or reads anything; each has a fingerprint that is part of every ETag it influences.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File, PageHead, PageRow, ProjectRow, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether one layer contributes to a project's page, and because of what."""

    index: IndexName
    joins: bool
    reason: str
    """One sentence for `explain`."""


class AdmissionPolicy(Protocol):
    """Which layers of a resolution order may contribute files. Pure."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a decision could; part of every ETag."""
        ...

    def admit(
        self, tree: Tree, order: Sequence[IndexName], standings: Sequence[Standing], project: ProjectName
    ) -> tuple[Verdict, ...]:
        """One verdict per layer, in order, before any source is asked: a layer that does not join now is told nothing.

        What `standings` say of mirrored layers may be old and must not decide about them here.
        """
        ...

    def settle(
        self,
        tree: Tree,
        order: Sequence[IndexName],
        standings: Sequence[Standing],
        verdicts: Sequence[Verdict],
        project: ProjectName,
        unknown: Collection[IndexName],
    ) -> tuple[Verdict, ...]:
        """The final verdicts, after the sources of those that join were asked: what `standings` say is as they said it.

        `unknown` are the layers of which nothing is stored and whose sources could not say. One that keeps joining makes the whole page
        unknown. May take layers out, never let one in that was not asked. A policy that does not look at this returns `verdicts`.
        """
        ...


class Build(Struct, frozen=True, kw_only=True):
    """What a page filter may know besides the file."""

    tree: Tree
    start: IndexName
    project: ProjectName
    moment: Timestamp
    """The time the page is built for, rounded down as the filter's `rounding` asks."""


class PageFilter(Protocol):
    """Hides files from pages, and says why. Pure. The same decision guards the file's own URL."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a decision could; part of every ETag."""
        ...

    @property
    def rounding(self) -> int:
        """Seconds to which `Build.moment` may be rounded down; 0 when the filter does not look at the time."""
        ...

    def applies(self, tree: Tree, start: IndexName) -> bool:
        """Whether this filter could hide anything in pages of this index. False keeps the fast path."""
        ...

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> str | None:
        """Why a layer is taken to have nothing of a project, one sentence: no file, no version, no line in a project list, and no
        question to a mirror's upstream. None when it is not withheld as a whole.
        """
        ...

    def hidden(self, origin: IndexName, file: File, build: Build) -> str | None:
        """Why this file is not shown, one sentence; None when it is. A version that has no files is asked about as a file without a
        name.
        """
        ...


class PageEntry(Struct, frozen=True, array_like=True, gc=False):
    """One file of a merged page."""

    prefix: str
    """Relative URL from the page to the root of the index the file comes from, ending in `/`."""
    origin: IndexName
    row: PageRow


class MergedPage(Struct, frozen=True, kw_only=True):
    """One project as an index shows it: what every joining layer contributed, ready to be written."""

    project: ProjectName
    head: PageHead
    """Of the first layer that joins and has anything to say; `versions` and `status` are the page's."""
    versions: tuple[str, ...]
    """Every version, with or without files, once, in version order."""
    entries: Collection[PageEntry]
    """In order of version, then filename; each filename once. Of a long page by filename, and made while they are taken."""
    serial: Serial
    """The newest stamp of any joining layer."""


class ProjectList(Struct, frozen=True, kw_only=True):
    """A part of an index's project list; a long list is written part by part."""

    names: Sequence[ProjectRow]
    """By normalised name. A row without a display name is shown by its normalised one; its stamp is the serial that last
    changed the project, as far as that is known (see `Listings`)."""


class Renderer(Protocol):
    """Writes pages and project lists in one format. Pure. Registered under its media type."""

    @property
    def media_type(self) -> str:
        """The exact `Content-Type` to send."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the bytes for the same page could; part of every ETag."""
        ...

    def page(self, page: MergedPage) -> bytes: ...

    def list_start(self, serial: Serial) -> bytes:
        """What comes before the first part of a project list."""
        ...

    def list_part(self, part: ProjectList, *, first: bool) -> bytes: ...

    def list_end(self, serial: Serial) -> bytes: ...


class UploadForm(Struct, frozen=True, kw_only=True):
    """The text fields of an upload, decoded; every field is a list, in the order sent."""

    fields: Mapping[str, tuple[str, ...]]

    def first(self, name: str) -> str:
        """A field's first value; "" when absent or `UNKNOWN`, which old tools write for nothing."""
        values = self.fields.get(name, ())
        value = values[0].strip() if values else ""
        return "" if value == "UNKNOWN" else value


class InspectedUpload(Struct, frozen=True, kw_only=True):
    """An upload after its archive was read and before anything is kept."""

    index: IndexName
    project: ProjectName
    file: File
    form: UploadForm
    metadata: bytes
    """The exact METADATA or PKG-INFO bytes from the archive."""
    path: Path
    """The spooled archive; read only, gone after the check."""


class UploadCheck(Protocol):
    """Looks at an upload before anything is kept. Runs in a worker thread; may read, must not write."""

    def problems(self, upload: InspectedUpload) -> Sequence[str]:
        """One sentence per reason to refuse; empty lets it pass."""
        ...
