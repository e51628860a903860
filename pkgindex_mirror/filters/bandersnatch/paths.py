"""Keys such as `not-null:all:info.classifiers`: a dotted path into a document, and tags about what is there.

| tag | meaning |
|---|---|
| `any` | some pattern matches some value (the default) |
| `all` | each pattern matches some value |
| `none` | no pattern matches any value |
| `match-null` | a path that leads nowhere passes (the default) |
| `not-null` | a path that leads nowhere does not pass |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_mirror.filters.bandersnatch.sections import Settings, compiled, lines_of

_MODES: Final = frozenset({"any", "all", "none"})
SEARCH: Final = "search"
"""The one key that is no path: whether patterns may match anywhere, and not only at the beginning."""


class DottedPath(Struct, frozen=True):
    """A key of a metadata filter, without its patterns or versions."""

    key: str
    steps: tuple[str, ...]
    mode: str
    passes_null: bool

    def node(self, root: Mapping[str, Any]) -> Any:
        """The value at the end of the path; None if it leads nowhere."""
        node: Any = root
        for step in self.steps:
            node = node.get(step) if isinstance(node, Mapping) else None
            if node is None:
                return None
        return node


class PathPatterns(Struct, frozen=True):
    """A path, and the regular expressions for what is there."""

    path: DottedPath
    patterns: tuple[re.Pattern[str], ...]
    anywhere: bool
    none_obeys_null: bool

    def permits(self, root: Mapping[str, Any]) -> bool:
        node = self.path.node(root)
        if node is None or node == []:
            return self._permits_null()
        texts = [_text(each) for each in (node if isinstance(node, list) else [node])]
        if self.path.mode == "all":
            return all(any(self._matches(pattern, text) for text in texts) for pattern in self.patterns)
        found = any(self._matches(pattern, text) for pattern in self.patterns for text in texts)
        return not found if self.path.mode == "none" else found

    def _permits_null(self) -> bool:
        match self.path.mode:
            case "none":
                # bandersnatch lets a null match every pattern here, whatever the tag.
                return self.path.passes_null if self.none_obeys_null else not self.patterns
            case "all":
                return self.path.passes_null or not self.patterns
            case _:
                return self.path.passes_null and bool(self.patterns)

    def _matches(self, pattern: re.Pattern[str], text: str) -> bool:
        return bool(pattern.search(text) if self.anywhere else pattern.match(text))


def dotted_path(key: str) -> DottedPath:
    """Read a key. Tags that are not known mean nothing."""
    *tags, path = key.split(":")
    mode, passes_null = "any", True
    for tag in tags:
        if tag in _MODES:
            mode = tag
        elif tag in {"match-null", "not-null"}:
            passes_null = tag == "match-null"
    return DottedPath(key, tuple(path.split(".")), mode, passes_null)


def path_patterns(sections: Settings, section: str, *, anywhere: bool, none_obeys_null: bool) -> list[PathPatterns]:
    """The keys of a section with their patterns."""
    return [
        PathPatterns(
            dotted_path(key),
            tuple(compiled(line, f"[{section}] {key}") for line in lines_of(sections, section, key)),
            anywhere,
            none_obeys_null,
        )
        for key in sections.get(section, {})
        if key != SEARCH
    ]


def plain_patterns(patterns: Sequence[PathPatterns]) -> list[Any]:
    """The patterns as values for a fingerprint."""
    return [
        [each.path.key, [one.pattern for one in each.patterns], each.anywhere, each.none_obeys_null]
        for each in patterns
    ]


def _text(value: Any) -> str:
    """A value as a pattern sees it. bandersnatch fails at values that are no texts."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
