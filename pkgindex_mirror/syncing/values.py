"""The values of a sync: projects as a list names them, projects as a page describes them, and why something is left out."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import ProjectName


class Listed(Struct, frozen=True, order=True, gc=False):
    """A project in the list of an upstream."""

    name: ProjectName
    raw: str
    """The name as the upstream spells it; empty when that is not known."""
    serial: int | None = None
    """The serial of its last change; None when the list has no serials."""


class UpstreamProject(Struct, frozen=True, kw_only=True):
    """A project as its upstream describes it."""

    name: ProjectName
    raw: str
    head: PageHead
    """Display name, versions, status and validators of its page. `validators["serial"]` is the serial of the page, if it has one."""
    files: tuple[File, ...] = ()
    document: bytes = b""
    """Its JSON document (`/pypi/NAME/json`) as the upstream sent it. Empty unless it was asked for."""
    remarks: tuple[str, ...] = ()
    """Sentences about entries of its page that cannot be read (`PageListing.notes`): 20 at most, and the number of the others."""

    @property
    def serial(self) -> int | None:
        value = self.head.validators.get("serial", "")
        return int(value) if value.isdigit() else None


class Refusal(Struct, frozen=True, order=True):
    """Why a project or a file is not mirrored."""

    filter: str
    """The word of the filter, such as `allowlist_project`."""
    reason: str
    """A sentence for people, without the name of what is refused: `its version 1.0rc1 is a pre-release`."""


class ProjectState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The knowledge of a mirror about a project, beside its pages and files: one durable row."""

    name: ProjectName
    raw: str = ""
    serial: int | None = None
    """The serial up to which the project is mirrored; None when it is not mirrored, or has no serial."""
    validators: dict[str, str] = {}
    """As `PageHead.validators`, of the page that is mirrored."""
    chosen_by: str = ""
    """The fingerprint of the filters under which its files were chosen."""
    error: str = ""
    """Why the last try failed; empty when it did not."""
    failures: int = 0
    """Failed tries in a row."""
    absent: bool = False
    """Whether the last try failed since the upstream lists the project and has no page of it. No mirror can have it then."""
    next_try: Timestamp | None = None
    """The time before which a failing project is not tried again."""
    gone_since: Timestamp | None = None
    """The time at which the upstream was first seen without the project."""
    files: int = 0
    bytes: int = 0
    """Number and bytes of its mirrored files."""
    refused: str = ""
    """Why filters refuse the project as a whole: `WORD: REASON`. It is not asked for again while it is as it was and the filters are."""
    published: bool = True
    """Whether the mirror has something of it. False: it was tried or refused, and never published."""
    hidden: bool = False
    """Whether its page is taken away while its files stay."""

    def rests(self, now: Timestamp) -> bool:
        """Whether it failed and is left alone for now."""
        return self.next_try is not None and self.next_try > now

    @property
    def is_mirrored(self) -> bool:
        return self.published and not self.hidden
