"""The licences of a project, from its JSON document: an SPDX expression (PEP 639), classifiers, or a short text.

A classifier means the SPDX identifier of its licence. Those that leave a version or variant open have a short name that is no identifier,
such as `BSD` or `GPL`; others are named by their last part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.1 (EUPL 1.1)": "EUPL-1.1",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Public Domain": "Public-Domain",
    "Academic Free License (AFL)": "AFL",
    "Artistic License": "Artistic",
    "GNU General Public License (GPL)": "GPL",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "Other/Proprietary License": "Proprietary",
}
_TEXTS: Final = {
    "mit license": "MIT",
    "the mit license": "MIT",
    "apache 2.0": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd": "BSD",
    "bsd license": "BSD",
    "3-clause bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "gpl": "GPL",
    "gplv2": "GPL-2.0-only",
    "gplv3": "GPL-3.0-only",
    "gplv3+": "GPL-3.0-or-later",
    "lgpl": "LGPL",
    "lgplv3": "LGPL-3.0-only",
    "psf": "PSF-2.0",
    "mpl 2.0": "MPL-2.0",
    "public domain": "Public-Domain",
    "proprietary": "Proprietary",
}
_PREFIX: Final = "License :: "
_MARKS: Final = re.compile(r"[\s()]+")
_LENGTH_LIMIT: Final = 1000
_DEPTH_LIMIT: Final = 20

Term = str
"""A licence, perhaps with an exception: `GPL-2.0-only WITH Classpath-exception-2.0`."""


def licence_expression(info: Mapping[str, Any]) -> str:
    """The licence of a project as an expression of SPDX's grammar; empty when it is not known.

    Several classifiers are joined by AND: whether they are a choice is not known.
    """
    if expression := _expression(info.get("license_expression")):
        return expression
    classifiers = info.get("classifiers")
    parts = [each for each in classifiers if isinstance(each, str)] if isinstance(classifiers, list) else []
    lasts = [each.rpartition(" :: ")[2] for each in parts if each.startswith(_PREFIX)]
    named = [_CLASSIFIERS.get(last, last) for last in lasts if last != "OSI Approved"]
    if named:
        return " AND ".join(dict.fromkeys(_MARKS.sub("-", each).strip("-") for each in named))
    text = info.get("license")
    short = text.strip() if isinstance(text, str) else ""
    return _TEXTS.get(short.lower(), "") or _expression(short)


def is_satisfied(expression: str, permits: Callable[[Term], bool]) -> bool:
    """Whether permitted licences satisfy an expression: one side of OR, both sides of AND."""
    tokens = expression.replace("(", " ( ").replace(")", " ) ").split()
    return _ExpressionReading(tokens, permits).alternatives()


class _ExpressionReading:
    """Reads an expression from left to right. Every side is read, since the next one begins behind it."""

    def __init__(self, tokens: list[str], permits: Callable[[Term], bool]) -> None:
        self._tokens = tokens[::-1]
        self._permits = permits

    def alternatives(self) -> bool:
        found = self._together()
        while self._takes("OR"):
            found = self._together() or found
        return found

    def _together(self) -> bool:
        found = self._term()
        while self._takes("AND"):
            found = self._term() and found
        return found

    def _term(self) -> bool:
        if self._takes("("):
            found = self.alternatives()
            self._takes(")")
            return found
        term = self._tokens.pop() if self._tokens else ""
        if self._takes("WITH") and self._tokens:
            term = f"{term} WITH {self._tokens.pop()}"
        return self._permits(term)

    def _takes(self, word: str) -> bool:
        if self._tokens and self._tokens[-1] == word:
            self._tokens.pop()
            return True
        return False


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str:
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return ""


def _expression(text: Any) -> str:
    """The canonical spelling of an expression; empty for other texts. Long and deeply nested ones are not read."""
    if not isinstance(text, str) or not 0 < len(text) <= _LENGTH_LIMIT or text.count("(") > _DEPTH_LIMIT:
        return ""
    return _canonical(text)
