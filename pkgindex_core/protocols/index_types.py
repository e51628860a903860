"""What kinds of index there are and which options they have, as declarations: plain values that plugins offer.

They are looked at when an index is made or changed (`rules.index_options`), never while a page is answered. What an index *does*
stands in its `IndexConfig`, so one whose plugin is gone can still be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName


class IndexType(Struct, frozen=True, kw_only=True):
    """One kind of index. The provider's name is what `type=` says; it can never change."""

    takes_uploads: bool = True
    """Whether files are put in; otherwise its indexes are `IndexConfig.read_only`."""
    has_bases: bool = True
    """Whether it inherits from other indexes."""
    mirrored: bool = False
    """Whether its pages are copies of what its source has elsewhere (`IndexConfig.mirrored`). Such a type takes no uploads and has no bases,
    whatever is said above."""
    options_of: str = "stage"
    """Another type whose options it has as well as its own: `stage` or `mirror`, as in devpi."""


class IndexOption(Struct, frozen=True, kw_only=True):
    """One option of an index. The provider's name is its key.

    The value is kept in the field of `IndexConfig` that has the option's name, otherwise in `IndexConfig.options`, where it must be
    something that JSON can say.
    """

    parse: Callable[[Any], Any]
    """From what a client sent (text, or any JSON value) to the value that is kept. `Refused` says what is wrong with it; it must not
    repeat a secret."""
    types: tuple[str, ...] = ("stage",)
    """The types that have it, and those whose `options_of` names one of these."""
    default: Callable[[IndexName], Any] | None = None
    """The value that a new index starts with. Such an option is always shown and cannot be dropped. None: unset, and not shown, until given."""
    required: bool = False
    """No index of these types is made without."""
    is_list: bool = False
    """`parse` gives a tuple, to which `key+=value` adds and from which `key-=value` takes."""
    secret: bool = False
    """Never shown, to anybody. Who writes a whole document back that lacks it does not lose it."""
    write: Callable[[IndexConfig, Any], IndexConfig] | None = None
    """Keeps the value in another way than by its name."""
    spells: str = ""
    """The option of which this is another name, perhaps with other words for its values. The value is kept under that one, and documents
    show this one only where devpi 7's names are asked for."""
    read: Callable[[IndexConfig], Any] | None = None
    """The value in this option's words, where they are others than those of the option that it `spells`."""
