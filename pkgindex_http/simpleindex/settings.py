"""The table `[plugins.routes]`, which `pkgindex-serve run --routes FILE` makes of a file of simpleindex."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName
from pkgindex_core.rules.route_patterns import is_literal, last_segment

INDEX: Final = "root/routes"
"""The index of the routes without a path, unless `default_index` says otherwise."""

Kind = Literal["path", "cache", "redirect", "whole_folder", "page", "custom"]
"""`path` and `cache` are answered by an index, the others without one."""


class RouteSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One route."""

    pattern: str
    place: str
    """Where it is written: `index.toml, line 12`."""
    kind: Kind
    to: str
    """A template: of an absolute path, of a URL, or what a plugin takes. For `cache` the URL of the upstream, without the project."""
    provider: str = ""
    """For `custom`: the name of the plugin."""

    @property
    def prefix(self) -> str:
        """The path before the project; empty at the root."""
        return last_segment(self.pattern)[0]

    @property
    def is_indexed(self) -> bool:
        return self.kind in {"path", "cache"}


class RoutesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How projects are routed."""

    file: str
    """The name of the file, without its directory."""
    directory: str
    """The absolute path of its directory."""
    routes: tuple[RouteSettings, ...]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The literal paths before projects, each once; the root is always one."""
        return tuple(dict.fromkeys(["", *(each.prefix for each in self.routes if is_literal(each.prefix))]))


def read_settings(table: Mapping[str, Any]) -> RoutesSettings:
    """Decode the table."""
    try:
        return msgspec.convert(table, RoutesSettings)
    except msgspec.ValidationError as error:
        raise Refused(
            f"[plugins.routes]: {error}", hint="leave it to `pkgindex-serve run --routes FILE`, which writes it"
        ) from error


def index_of(prefix: str, default_index: str) -> IndexName:
    """The index of the projects below a path."""
    return IndexName(default_index if not prefix else f"root/routes-{_slug(prefix)}")


def mirror_of(url: str) -> IndexName:
    """The index that caches an upstream. `url` has no credentials."""
    return IndexName(f"root/cache-{_slug(urlsplit(url).hostname or '')[:40]}-{sha256_of(url.encode())[:8]}")


def _slug(text: str) -> str:
    """Text as a part of an index's name; different texts have different ones."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-.") else "-" for letter in text)
    return kept if kept == text and not text.endswith(".") else f"{kept[:40].strip('.')}-{sha256_of(text.encode())[:6]}"
