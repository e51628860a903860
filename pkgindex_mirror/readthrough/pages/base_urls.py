"""Whether the URL of an upstream is the base of a simple index, and which one probably is.

A base URL without its `/simple/` answers 404 for every project: clients are told that no project exists, and the log shows no error.
So the base is asked for when it is configured. Only its beginning is read: PyPI's list has 23 MB.
"""

from __future__ import annotations

from typing import Literal

from pkgindex_mirror import urls
from pkgindex_mirror.documents.document_kinds import is_json
from pkgindex_mirror.documents.name_lists import NameListing, read_names
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import GLIMPSE, UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Failed, Glimpse

_PLACES = ("simple/", "+simple/")
_MARK = b"pypi:repository-version"


async def base_problem(client: UpstreamClient, site: Site, *, without_list: bool = False) -> str:
    """The problem of an upstream's URL, and what to do; empty when it looks right.

    `without_list`: the upstream is known to have no list of projects, so a missing list is no problem.
    """
    shown = urls.shown(site.base)
    found = await client.glimpse(site, site.base)
    if isinstance(found, Failed):
        return f"its upstream {shown} could not be asked: {found.reason}"
    if site.is_flat:
        return f"its upstream {shown} answered {found.status}" if isinstance(found, AbsentAnswer) else ""
    verdict = "no" if isinstance(found, AbsentAnswer) else _verdict(found)
    if verdict == "yes":
        return ""
    for place in _PLACES:
        other = await client.glimpse(site, site.base + place)
        said = _verdict(other) if isinstance(other, Glimpse) else "no"
        # An unclear base is only replaced by a place that is certainly an index.
        if said == "yes" or (said == "unclear" and verdict == "no"):
            return f"its upstream {shown} is no simple index, {shown}{place} is one: set mirror_url={shown}{place}"
    if verdict == "unclear" or without_list:
        return ""
    what = f"it answered {found.status}" if isinstance(found, AbsentAnswer) else "it answered with no list of projects"
    return (
        f"its upstream {shown} does not look like a simple index: {what}. If it has pages of projects all the same, "
        "set mirror_no_project_list=True; otherwise correct mirror_url"
    )


def _verdict(found: Glimpse) -> Literal["yes", "no", "unclear"]:
    """Whether this is the beginning of a list of projects."""
    if is_json(found.body, found.content_type):
        return "yes" if b'"projects"' in found.body else "no"
    if _MARK in found.body.lower():
        return "yes"
    if len(found.body) >= GLIMPSE:
        return "unclear"
    names = read_names(found.body, found.content_type)
    return "unclear" if isinstance(names, NameListing) and names.names else "no"
