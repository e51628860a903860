"""The results of pushes. They are apart from the services, so that code that only reports them imports no service."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.errors import Denied
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.pushing import PushedItem


class PushResult(Struct, frozen=True, kw_only=True):
    """The result of a push."""

    source: IndexName
    target: IndexName
    project: ProjectName
    items: tuple[PushedItem, ...]
    """The parts of the release that the target has now, in the order of devpi's answer."""
    changed: bool
    """False: the target had everything already, and nothing was written."""


class NotAdmittedError(Denied):
    """The principal may see the target index but may not upload to it."""
