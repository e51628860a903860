"""The advisories that an index has of its own, beside those of the server's book. Pure.

They are kept in the configuration of the index, as OSV records, so each change is a commit with its author, holds at once on all servers, and
changes the ETags of pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from pkgindex_core.formats.advisories import read_advisory
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import Advisory

KEPT_AS: Final = "advisories"
"""The key in `IndexConfig.options`. No option of an index writes it."""


def own_records(config: IndexConfig) -> Sequence[Mapping[str, Any]]:
    """The records of an index, in the order of their identifiers."""
    return tuple(config.options.get(KEPT_AS, ())) if config.options else ()


def own_advisories(config: IndexConfig) -> Mapping[ProjectName, Sequence[Advisory]]:
    """The advisories of an index by the projects that they name."""
    records = own_records(config)
    return _by_project(msgspec.json.encode(records)) if records else {}


def as_kept(records: Iterable[Mapping[str, Any]]) -> Any:
    """The value in `IndexConfig.options`."""
    return sorted((dict(each) for each in records), key=lambda each: str(each["id"]))


@lru_cache(maxsize=64)
def _by_project(kept: bytes) -> Mapping[ProjectName, Sequence[Advisory]]:
    found: dict[ProjectName, list[Advisory]] = {}
    for record in msgspec.json.decode(kept, type=list[msgspec.Raw]):
        advisory = read_advisory(bytes(record))
        for affected in advisory.affected if advisory is not None else ():
            if advisory is not None and advisory not in found.setdefault(affected.project, []):
                found[affected.project].append(advisory)
    return found
