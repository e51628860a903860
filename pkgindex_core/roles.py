"""Whether what a plugin made can play the role of its hook.

The role is the argument of `Provider` in the return type of the hook (`hookspecs`). An object of another shape would fail at the
first request that uses it, perhaps weeks after the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from inspect import iscoroutine
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from pkgindex_core import hookspecs

AWAITED: Final = frozenset(
    {
        "pkgindex_index_stores",
        "pkgindex_blob_stores",
        "pkgindex_sources",
        "pkgindex_publishers",
        "pkgindex_followers",
    }
)
"""The hooks whose `make` is a coroutine function. That of other hooks is a plain function, except those in `MAY_BE_AWAITED`."""
MAY_BE_AWAITED: Final = frozenset({"pkgindex_page_filters"})
"""The hooks whose `make` may be a coroutine function."""
_MAY_BE_NONE: Final = frozenset({"pkgindex_authenticators", "pkgindex_followers", "pkgindex_page_filters"})


def misfit(hook: str, made: object) -> str:
    """Describe why an object cannot play the role of a hook; empty if it can."""
    role = _role(hook)
    if iscoroutine(made):
        made.close()
        return "make is a coroutine function, and this hook does not await it; write it with def"
    if role is None or (made is None and hook in _MAY_BE_NONE):
        return ""
    name = type(made).__name__
    if getattr(role, "_is_protocol", False):
        missing = sorted({member for member in _members(role) if not hasattr(made, member)})
        return f"it made a {name}, which lacks {', '.join(missing)} of {role.__name__}" if missing else ""
    kinds = (Path, str) if role is Path else role
    return "" if isinstance(made, kinds) else f"it made a {name}, which is not a {role.__name__}"


@lru_cache
def _role(hook: str) -> type | None:
    """The class of the role; None if the hook does not name one, as those of the server's routes and commands."""
    (provider,) = get_args(get_type_hints(vars(hookspecs)[hook])["return"])
    found: Any = next(iter(get_args(provider)), None)
    return found if isinstance(found, type) and found is not Any else None


def _members(role: type) -> Iterator[str]:
    """The names of a Protocol's methods and properties."""
    for each in role.__mro__:
        if getattr(each, "_is_protocol", False):
            yield from (name for name in vars(each) if not name.startswith("_"))
