"""Leaves out projects by patterns of their names, as for a namespace: `acme-*`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Listed, Refusal

WORD: Final = "names"
_MARKS: Final = re.compile(r"[A-Za-z0-9._*?\[\]!-]+")


class NamePatterns(QuietFilter):
    """Keeps the projects of the one list of patterns, or all if it is empty, without those of the other list."""

    def __init__(self, names: Sequence[str], except_names: Sequence[str]) -> None:
        wanted, unwanted = [list(map(_normalized, patterns)) for patterns in (names, except_names)]
        super().__init__(WORD, [wanted, unwanted])
        self._wanted = _compiled(wanted)
        self._unwanted = [(pattern, re.compile(translate(pattern))) for pattern in unwanted]

    def refuses_name(self, listed: Listed) -> Refusal | None:
        if self._wanted is not None and not self._wanted.match(listed.name):
            return self.refusal("no pattern of names has it")
        for pattern, compiled in self._unwanted:
            if compiled.match(listed.name):
                return self.refusal(f"except_names has {pattern}")
        return None


def _compiled(patterns: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(translate, patterns))) if patterns else None


def _normalized(pattern: str) -> str:
    """A pattern as normalised names are spelled: `Acme_*` is `acme-*`."""
    if not _MARKS.fullmatch(pattern):
        raise Refused(f"the pattern {pattern!r} fits no project name", hint="write a pattern such as acme-*")
    # A dash in brackets is a range.
    return re.sub(r"[-_.]+(?![^\[]*\])", "-", pattern).lower()
