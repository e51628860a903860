"""The role of a book of advisories: what is known of packages that are malicious or vulnerable.

It is read on the way to pages, so it never waits, and answers from memory or from a file that is mapped into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.names import ProjectName

Severity = Literal["unknown", "low", "medium", "high", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("unknown", "low", "medium", "high", "critical")
MALICIOUS: Final = "MAL-"
"""How the identifiers of malicious packages begin (the OpenSSF's collection)."""


class AffectedSpan(Struct, frozen=True, array_like=True, gc=False):
    """Versions from `introduced` on, up to one of the two ends, or without an end."""

    introduced: str
    """`0`: from the first version on."""
    fixed: str = ""
    """The first version that is not affected."""
    last: str = ""
    """The last version that is affected."""


class Affected(Struct, frozen=True, array_like=True):
    """The versions of one project that an advisory is about."""

    project: ProjectName
    versions: tuple[str, ...] = ()
    """Listed versions, in canonical spelling."""
    spans: tuple[AffectedSpan, ...] = ()


class Advisory(Struct, frozen=True, array_like=True):
    """An OSV record, as far as decisions and pages need it."""

    id: str
    modified: str
    """RFC 3339, as the record says it."""
    summary: str
    severity: Severity
    aliases: tuple[str, ...]
    affected: tuple[Affected, ...]
    withdrawn: str = ""
    """When it was withdrawn (RFC 3339); empty: it holds."""

    @property
    def is_malware(self) -> bool:
        return self.id.startswith(MALICIOUS) or any(alias.startswith(MALICIOUS) for alias in self.aliases)


class FeedState(Struct, frozen=True, kw_only=True):
    """The feed that a book was made from."""

    records: int = 0
    """The advisories in the book."""
    feed: str = ""
    """Where they are from; empty: nothing was ever taken in."""
    taken: Timestamp | None = None
    """When the book was made."""
    newest: str = ""
    """The latest `modified` of all records (RFC 3339)."""
    checked: Timestamp | None = None
    """When the feed last answered that this is its newest."""


class AdvisoryBook(Protocol):
    """Advisories by project and by identifier."""

    @property
    def revision(self) -> str:
        """Changes when the book does. Equal books have equal revisions, in every process."""
        ...

    def about(self, project: ProjectName) -> Sequence[Advisory]:
        """The advisories that name a project, withdrawn ones too, in the order of their identifiers."""
        ...

    def revision_of(self, project: ProjectName) -> str:
        """Changes when the advisories that name a project do. Equal ones have equal revisions, in every process; empty: there are none."""
        ...

    def record(self, identifier: str) -> bytes | None:
        """The whole record with an identifier, as it was published; None if there is none."""
        ...

    def state(self) -> FeedState:
        """The feed that the book was made from."""
        ...


class EmptyBook:
    """A book without advisories."""

    revision = ""

    def about(self, project: ProjectName) -> Sequence[Advisory]:
        return ()

    def revision_of(self, project: ProjectName) -> str:
        return ""

    def record(self, identifier: str) -> bytes | None:
        return None

    def state(self) -> FeedState:
        return FeedState()


NO_ADVISORIES: Final = EmptyBook()
