"""The upstream of a mirror, as its index configures it."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName, owner
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.permissions import ROOT
from pkgindex_mirror import urls


class Site(Struct, frozen=True, kw_only=True):
    """An upstream as an index configures it. Its repr shows no secret."""

    base: str
    authorization: str = ""
    """The header's value; empty for none."""
    trusted: bool = True
    """Whether the operator has named it, so that it may lie in a private network. Others may only name what is open to all."""
    absent: frozenset[int] = frozenset({404, 410})
    """The statuses that mean "there is none" (`absent_statuses` of the index)."""

    def __repr__(self) -> str:
        return f"Site({self.base!r})"

    def project_url(self, project: ProjectName) -> str:
        return f"{self.base}{project}/"


def site_of(index: IndexConfig) -> Site | None:
    """The upstream of a mirror; None when its URL is unusable.

    A mirror below `root` is the operator's. Anybody else who may make an index could otherwise read through it whatever this
    machine can reach.
    """
    options = mirror_options(index)
    base = urls.cleaned(options.url)
    if base is None:
        return None
    return Site(
        base=urls.with_slash(base),
        authorization=urls.basic(options.credentials) if options.credentials else "",
        trusted=owner(index.name) == ROOT,
        absent=frozenset(options.absent_statuses),
    )
