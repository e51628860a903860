"""The pure roles: admission of layers, page filters, upload checks and renderers.

They never wait. An `UploadCheck` reads the archive that it is given; the others read nothing. The same question has the same answer in
every process. Every valid value is answered, and nothing is raised. A reason is one printable line. The fingerprint of a role is part of
every ETag that it influences: objects that decide differently have different fingerprints, and objects with equal settings have the same
one. The contract suites are `pkgindex_core.testing.admission_policies`, `page_filters`, `renderers` and `upload_checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File, PageHead, PageRow, ProjectRow, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether one layer contributes to a project's page, and the reason."""

    index: IndexName
    joins: bool
    reason: str
    """One sentence for `explain`."""
    in_turn: bool = False
    """Whether the source of this joining mirror is asked only when all joining mirrors before it have answered that they do not have the project."""
    needed: bool = True
    """Whether a page is unknown while this joining layer is. If not, the page has what the others have, and its answer names the layer."""


class AdmissionPolicy(Protocol):
    """Decides which layers may contribute files to a page. Pure."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a decision could change. Part of every ETag."""
        ...

    def admit(
        self, tree: Tree, order: Sequence[IndexName], standings: Sequence[Standing], project: ProjectName
    ) -> tuple[Verdict, ...]:
        """Decide before sources are asked: one verdict per layer, in order. The source of a layer that does not join is not asked.

        Standings of mirrored layers may be old here, and must not decide about those layers.
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
        """Decide after the sources of the joining layers were asked; `standings` are now as the sources reported them.

        `unknown` are layers of which nothing is stored and whose sources could not be asked. If one of them still joins and is `needed`,
        the whole page is unknown. May remove layers, but never add one that was not asked: it leaves out a layer whose turn did not come. A policy without a second decision returns `verdicts`.
        """
        ...


Mode = Literal["observe", "warn", "block"]
"""`observe`: recorded, and nothing else. `warn`: shown, and told to clients and in explanations. `block`: not shown and not served."""
MODES: Final[tuple[Mode, ...]] = ("observe", "warn", "block")


class Ruling(Struct, frozen=True, kw_only=True, gc=False):
    """The verdict of a page filter about a file or a project that it does not simply show. None in its place: it is shown.

    A ruling with `until` is *wait*, one without is *hide*. Both take effect only in the mode `block`.
    """

    reason: str
    """One sentence for people."""
    rule: str = ""
    """The name of the rule, such as `cooldown`; empty: the name of the filter's provider."""
    mode: Mode = "block"
    until: Timestamp | None = None
    """The first instant at which the file may be shown, as far as it is known now."""

    @property
    def hides(self) -> bool:
        return self.mode == "block"


def alone(_origin: IndexName, file: File) -> Sequence[File]:
    """The files of a release of which only one is known."""
    return (file,)


class Build(Struct, frozen=True, kw_only=True):
    """The inputs of a page filter besides the file."""

    tree: Tree
    start: IndexName
    project: ProjectName
    moment: Timestamp
    """The time of which the page is, as `PageFilter.cut_off` rounds it. For a view of the past it is a past time."""
    now: Timestamp | None = None
    """The time at which the page is made, rounded alike; None: it is `moment`. What is blocked today is blocked in views of the past too."""
    release: Callable[[IndexName, File], Sequence[File]] = alone
    """All files of a file's release in one layer, with the file. Only for filters that are `by_release`; others get the file alone."""

    @property
    def today(self) -> Timestamp:
        return self.moment if self.now is None else self.now


class PageFilter(Protocol):
    """Decides which files pages show, with a rule and a reason. Pure. The same decision holds for the file's own URL."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a decision could change, also while the program runs. Part of every ETag."""
        ...

    @property
    def by_release(self) -> bool:
        """Whether a decision looks at the other files of a release (`Build.release`)."""
        ...

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        """The last instant, not after `moment`, at which the time could change a decision in pages of this index; 0: it never could.

        Decisions are made with it instead of `moment`, and it is part of every ETag, so a coarse one keeps pages cached.
        """
        ...

    def applies(self, tree: Tree, start: IndexName) -> bool:
        """Whether this filter can rule on anything in pages of this index. False keeps the fast path."""
        ...

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        """The ruling on a whole project in a layer; None: there is none. A project that it hides has no files, no versions
        and no line in project lists, and the upstream of a mirror is not asked for it. It does not depend on the time.
        """
        ...

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        """The ruling on a file; None when it is shown. A version without files is passed as a file without a name."""
        ...


class PageEntry(Struct, frozen=True, array_like=True, gc=False):
    """One file of a merged page."""

    prefix: str
    """The relative URL from the page to the root of the file's index, ending in `/`."""
    origin: IndexName
    row: PageRow


class Namespace(Struct, frozen=True):
    """A namespace that covers a project's name (PEP 752)."""

    name: str
    owned: bool
    """Whether the project is one of the namespace's owner."""


class MergedPage(Struct, frozen=True, kw_only=True):
    """One project as an index shows it: the files of all joining layers, ready for a renderer."""

    project: ProjectName
    head: PageHead
    """The head of the first joining layer that has one; `versions` and `status` are those of the whole page."""
    versions: tuple[str, ...]
    """Every version, with or without files, once, in version order."""
    entries: Collection[PageEntry]
    """In order of version, then filename; each filename once. Entries of a long page are in order of filename and made one by one."""
    serial: Serial
    """The newest stamp of any joining layer."""
    namespaces: tuple[Namespace, ...] | None = None
    """The namespaces that cover the name, the widest first; None: no layer of the index has any, and the page says nothing of them."""


class ProjectList(Struct, frozen=True, kw_only=True):
    """A part of an index's project list; a long list is written part by part."""

    names: Sequence[ProjectRow]
    """By normalised name, which also replaces a missing display name. A row's stamp is the serial that last changed the project, if
    that is known (see `Listings`)."""


class Renderer(Protocol):
    """Writes pages and project lists in one format. Pure. Registered under its media type."""

    @property
    def media_type(self) -> str:
        """The exact `Content-Type` to send."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the bytes of the same page could change. Part of every ETag."""
        ...

    def page(self, page: MergedPage) -> bytes:
        """Write a page with a link for each entry, in their order. The URL is the entry's prefix and the path in the row's fragment.

        Names, reasons and statuses are text of strangers and are escaped.
        """
        ...

    def list_start(self, serial: Serial) -> bytes:
        """Write the start of a project list, before its first part."""
        ...

    def list_part(self, part: ProjectList, *, first: bool) -> bytes:
        """Write some projects, perhaps none. `first` is true until a part with names was written."""
        ...

    def list_end(self, serial: Serial) -> bytes:
        """Write the end of a project list, behind its last part. How a list is cut into parts does not change what it says."""
        ...


class UploadForm(Struct, frozen=True, kw_only=True):
    """The text fields of an upload, decoded. Every field is a list, in the order in which it was sent."""

    fields: Mapping[str, tuple[str, ...]]

    def first(self, name: str) -> str:
        """A field's first value; "" when it is absent or `UNKNOWN`, which old tools write for an empty field."""
        values = self.fields.get(name, ())
        value = values[0].strip() if values else ""
        return "" if value == "UNKNOWN" else value


class InspectedUpload(Struct, frozen=True, kw_only=True):
    """An upload whose archive was read, before anything is kept."""

    index: IndexName
    project: ProjectName
    file: File
    form: UploadForm
    metadata: bytes
    """The exact METADATA or PKG-INFO bytes from the archive."""
    path: Path
    """The spooled archive. Read only; removed after the check."""


class UploadCheck(Protocol):
    """Checks an upload before anything is kept. Runs in worker threads, for several uploads at once; may read, must not write."""

    def problems(self, upload: InspectedUpload) -> Sequence[str]:
        """A list with one sentence for each reason to refuse the upload; empty when there is none. Raises nothing."""
        ...
