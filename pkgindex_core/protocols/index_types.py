"""The types of indexes and their options, as declarations: plain values that plugins offer.

They are used when an index is made or changed (`rules.index_options`), never while a page is answered. The behaviour of an
index depends on its `IndexConfig` alone, so that an index can still be read when its plugin is missing. The contract suites are in
`pkgindex_core.testing.index_options`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName


class IndexType(Struct, frozen=True, kw_only=True):
    """One type of index. The provider's name is the value of `type=`, which never changes."""

    takes_uploads: bool = True
    """Whether its indexes take uploads; otherwise they are `IndexConfig.read_only`."""
    has_bases: bool = True
    """Whether it inherits from other indexes."""
    mirrored: bool = False
    """Whether its pages are copies of an upstream's (`IndexConfig.mirrored`). Such a type takes no uploads and has no bases; the fields
    above are ignored."""
    files_elsewhere: bool = False
    """Whether its source keeps the bytes of its files, outside of the blob store (`IndexConfig.files_elsewhere`)."""
    options_of: str = "stage"
    """A built-in type, `stage` or `mirror`. Indexes of this type have its options too, besides the options whose `IndexOption.types` names
    their own type."""


class IndexOption(Struct, frozen=True, kw_only=True):
    """One option of an index. The provider's name is its key.

    The value is kept in the field of `IndexConfig` of the same name, otherwise in `IndexConfig.options`, where it must be a JSON
    value.
    """

    parse: Callable[[Any], Any]
    """Converts the value that a client sent (text, or any JSON value but null) to the value that is kept. Raises `Refused` for a wrong
    value, without repeating a secret, and nothing else. A kept value converts to itself, also from JSON and from text."""
    types: tuple[str, ...] = ("stage",)
    """The types that have the option. Types whose `options_of` names one of them have it too."""
    default: Callable[[IndexName], Any] | None = None
    """The value in a new index. Such an option is always shown and cannot be dropped. None: the option is unset and not shown until given."""
    required: bool = False
    """Whether an index of these types cannot be made without it."""
    is_list: bool = False
    """Whether `parse` returns a tuple, which `key+=value` and `key-=value` change."""
    secret: bool = False
    """Whether the value is never shown. Writing back a whole document that lacks it keeps the value."""
    private: bool = False
    """Whether the value is shown only to principals that may change the index. Writing back a document that lacks it keeps the value."""
    write: Callable[[IndexConfig, Any], IndexConfig] | None = None
    """Writes the value into the configuration, if it is not kept under its own name."""
    spells: str = ""
    """The option of which this one is an alias, perhaps with other words for its values. The value is kept under that option. Documents
    show the alias only when devpi 7's names are asked for."""
    read: Callable[[IndexConfig], Any] | None = None
    """Reads the value in the words of this alias, if they differ from those of the option that it `spells`."""
