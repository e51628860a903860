"""Suggestions for misspelled names."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(written: str, known: Iterable[str]) -> str | None:
    """The known name that is spelled most like the written one; None when none is similar.

    >>> nearest("prot", ["host", "port"])
    'port'
    """
    from difflib import get_close_matches  # for what went wrong only

    by_key = {_key(name): name for name in sorted(known)}
    close = get_close_matches(_key(written), by_key, n=1)
    return by_key[close[0]] if close else None


def suggestion(written: str, known: Iterable[str]) -> str:
    """A sentence for a hint: the nearest known name when there is one, otherwise all of them.

    >>> suggestion("flie", ["file", "memory"])
    "did you mean 'file'?"
    >>> suggestion("ftp", ["file", "memory"])
    'known are file, memory'
    """
    names = sorted(known)
    close = nearest(written, names)
    if close is not None:
        return f"did you mean {close!r}?"
    return f"known are {', '.join(names)}" if names else "none are known"


def _key(name: str) -> str:
    return name.lower().replace("-", "_")
