"""Exemptions: who let a package through although a rule of its index holds it back, why, and until when. Pure.

They are kept in the configuration of the index that has the files, so each change is a commit with its author, holds at once on all servers,
and changes the ETags of pages. They expire by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Refused
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName, parse_project_name
from pkgindex_core.rules.permissions import ROOT

KEPT_AS: Final = "exemptions"
"""The key in `IndexConfig.options`. No option of an index writes it."""
_PURL: Final = re.compile(r"pkg:pypi/([^@?#/]+)(?:@([^?#/]+))?")
_SHOWN: Final = 120


class Exemption(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One exemption."""

    purl: str
    """`pkg:pypi/numpy`, or `pkg:pypi/numpy@2.1` for one version."""
    rules: tuple[str, ...] = ()
    """The rules that do not hold; empty: none holds."""
    reason: str
    by: str
    at: Timestamp
    until: Timestamp | None = None
    """None: it does not expire."""

    def is_active(self, moment: Timestamp) -> bool:
        return self.until is None or moment < self.until


def parse_purl(text: str) -> tuple[ProjectName, str]:
    """Read a package URL: the project, and the version or "".

    >>> parse_purl("pkg:pypi/Django@5.0")
    ('django', '5.0')
    """
    found = _PURL.fullmatch(text.strip())
    if found is None:
        raise Refused(f"{text[:_SHOWN]!r} is no package URL", hint="write pkg:pypi/NAME or pkg:pypi/NAME@VERSION")
    return parse_project_name(unquote(found[1])), unquote(found[2] or "")


def purl_of(project: ProjectName, version: str = "") -> str:
    """The package URL of a project or of one version."""
    return f"pkg:pypi/{project}" + (f"@{quote(version, safe='')}" if version else "")


def exemptions_of(config: IndexConfig) -> tuple[Exemption, ...]:
    """All exemptions of an index, also expired ones."""
    kept = config.options.get(KEPT_AS) if config.options else None
    return _decoded(msgspec.json.encode(kept)) if kept else ()


def exempt_of(config: IndexConfig) -> Exempt:
    """The same by project. It is made once, however many rules ask."""
    kept = config.options.get(KEPT_AS) if config.options else None
    return _exempt(msgspec.json.encode(kept)) if kept else Exempt(())


@lru_cache(maxsize=64)
def _exempt(kept: bytes) -> Exempt:
    return Exempt(_decoded(kept))


@lru_cache(maxsize=256)
def _decoded(kept: bytes) -> tuple[Exemption, ...]:
    return msgspec.json.decode(kept, type=tuple[Exemption, ...])


class Exempt:
    """The exemptions of an index, by project."""

    def __init__(self, exemptions: Iterable[Exemption]) -> None:
        exemptions = tuple(exemptions)
        self.expiries = tuple(each.until for each in exemptions if each.until is not None)
        self._by_project: dict[ProjectName, list[tuple[str, Exemption]]] = {}
        for each in exemptions:
            project, version = parse_purl(each.purl)
            self._by_project.setdefault(project, []).append((version and canonical_version(version), each))

    def find(
        self, project: ProjectName, version: str, rule: str, moment: Timestamp, *, of_server: bool = False
    ) -> Exemption | None:
        """The exemption that lets a version pass a rule at a moment. Only those of root count for a policy of the server."""
        for exempt, each in self._by_project.get(project, ()):
            if (
                (not exempt or exempt == canonical_version(version))
                and (not each.rules or rule in each.rules)
                and each.is_active(moment)
                and (not of_server or each.by == ROOT)
            ):
                return each
        return None


def as_kept(exemptions: Iterable[Exemption]) -> Any:
    """The value in `IndexConfig.options`."""
    return msgspec.to_builtins(list(exemptions))
