"""Leaves out projects by their licence, as their JSON document tells it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Final

from pkgindex_mirror.filters.legacy_documents import legacy_document
from pkgindex_mirror.filters.own.licence_terms import Term, is_satisfied, licence_expression
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject

WORD: Final = "licences"


class Licences(QuietFilter):
    """Keeps projects that can be used under the wanted licences, and without the others. Patterns match in any case."""

    def __init__(self, licences: Sequence[str], except_licences: Sequence[str], *, keep_unknown: bool) -> None:
        super().__init__(WORD, [list(licences), list(except_licences), keep_unknown], needs_document=True)
        self._wanted = [_compiled(pattern) for pattern in licences]
        self._unwanted = [_compiled(pattern) for pattern in except_licences]
        self._keep_unknown = keep_unknown

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        document = legacy_document(project)
        expression = licence_expression(document.info) if document else ""
        if not expression:
            return None if self._keep_unknown else self.refusal("its licence is unknown")
        if is_satisfied(expression, self._permits):
            return None
        return self.refusal(f"its licence is {expression}")

    def _permits(self, term: Term) -> bool:
        # An exception gives more rights, so the pattern of a licence fits it with any exception.
        names = (term, term.partition(" WITH ")[0])
        if any(pattern.match(name) for pattern in self._unwanted for name in names):
            return False
        return not self._wanted or any(pattern.match(name) for pattern in self._wanted for name in names)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern), re.IGNORECASE)
