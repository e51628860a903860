"""The rules that lines of policies may name, and how their values are read. Pure: a value is text before, and a plain value after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.formats.publishers import parse_publishers
from pkgindex_core.rules.policing.waiting import parse_cooldown, parse_instant


class Kind(Struct, frozen=True, kw_only=True):
    """One rule."""

    summary: str
    """One line for the documentation."""
    value: str = ""
    """An example of a value."""
    parse: Callable[[str], Any] = lambda _: None
    """Reads the text of a value. Raises `Refused` for a wrong one."""

    @property
    def takes_value(self) -> bool:
        return bool(self.value)


COOLDOWN: Final = "cooldown"
NOTHING_AFTER: Final = "nothing-after"
PUBLISHED_BY: Final = "published-by"
PUBLISHER_CHANGE: Final = "publisher-change"

KINDS: Final[Mapping[str, Kind]] = {
    COOLDOWN: Kind(
        summary="new releases wait, until their newest file is this old",
        value="7d",
        parse=parse_cooldown,
    ),
    NOTHING_AFTER: Kind(
        summary="releases with a file that was published after an instant are hidden",
        value="2026-11-01T00:00:00Z",
        parse=parse_instant,
    ),
    PUBLISHED_BY: Kind(
        summary="files come from this publisher only, or from one of these, as attestations or trusted publishing prove",
        value="github:octo/demo//release.yml#production",
        parse=parse_publishers,
    ),
    PUBLISHER_CHANGE: Kind(
        summary="files have the same publisher as the files of the project before them",
    ),
}
