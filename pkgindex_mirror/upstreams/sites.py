"""The upstream of a mirror, as its index configures it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import BadUpstream
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName, owner
from pkgindex_core.rules.kept_options import MirrorOptions, mirror_options
from pkgindex_core.rules.permissions import ROOT
from pkgindex_mirror import urls

FLAT: Final = "mirror_find_links"
"""The option of a mirror whose upstream is a flat page."""
_REMEMBERED: Final = 256
"""Sites: most programs have a few."""


class Site(Struct, frozen=True, kw_only=True):
    """An upstream as an index configures it. Its repr shows no secret."""

    base: str
    authorization: str = ""
    """The header's value; empty for none."""
    trusted: bool = True
    """Whether the operator configured it. If so, its host may have a private address."""
    absent: frozenset[int] = frozenset({404, 410})
    """The statuses that mean "there is none" (`absent_statuses` of the index)."""
    is_flat: bool = False
    """Whether `base` is one page with links to files of any projects (`flat_pages`), and no simple index."""

    def __repr__(self) -> str:
        return f"Site({self.base!r})"

    def project_url(self, project: ProjectName) -> str:
        """The URL of a project's page. For a flat page it is the URL of that page, with a fragment for the project."""
        return f"{self.base}#{project}" if self.is_flat else f"{self.base}{project}/"

    def asked_url(self, project: ProjectName) -> str:
        """The URL to which the request for a project goes."""
        return self.base if self.is_flat else self.project_url(project)


def site_of(index: IndexConfig) -> Site | None:
    """The upstream of a mirror; None when its URL is unusable.

    The operator's mirrors are those below `root`. The others are not trusted: with a mirror of a private address, their owner could
    read what only this machine can reach.
    """
    return _site(mirror_options(index), owner(index.name) == ROOT, bool(index.options.get(FLAT)))


@lru_cache(maxsize=_REMEMBERED)
def _site(options: MirrorOptions, trusted: bool, is_flat: bool) -> Site | None:
    base = urls.cleaned(options.url)
    if base is None:
        return None
    return Site(
        base=base if is_flat else urls.with_slash(base),
        authorization=urls.basic(options.credentials) if options.credentials else "",
        trusted=trusted,
        absent=frozenset(options.absent_statuses),
        is_flat=is_flat,
    )


def usable_site(index: IndexConfig) -> Site:
    """The upstream of a mirror. Raises `BadUpstream` when its URL is unusable."""
    site = site_of(index)
    if site is None:
        raise BadUpstream(f"{index.name} has no usable mirror_url", hint="set mirror_url to an http or https URL")
    return site
