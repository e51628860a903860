"""Translates the restrictions of devpi-tokens into the limits of a token, and back.

    {"allowed": ["upload", "pkg_read"], "indexes": ["team/dev"], "projects": ["demo"], "expires": 1800000000}

The limits must never be wider than the request. devpi has three permissions to delete for the one action here, so all three are
required for it. No token had permissions that begin with `user_` in devpi, and none has them here. The names of actions here
are accepted too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Denied, Refused
from pkgindex_core.models import Token
from pkgindex_core.names import normalized_or_none
from pkgindex_core.rules.permissions import DELEGABLE, Action
from pkgindex_core.spelling import suggestion

YEAR_SECONDS: Final = 366 * 86_400 + 10
"""The year of devpi-tokens in seconds: the default life of a token, and the longest for users other than root."""

ACTIONS: Final = tuple(
    str(action) for action in DELEGABLE if action not in {Action.USER_CREATE, Action.USER_MODIFY, Action.USER_DELETE}
)
"""The actions that a token made with devpi's command can have."""

_DELETIONS: Final = ("del_entry", "del_project", "del_verdata")
_WORDS: Final[Mapping[str, tuple[Action, ...]]] = {
    "pkg_read": (Action.READ, Action.EXPLAIN, Action.PUSH),
    "upload": (Action.UPLOAD, Action.UPLOAD_DOCS),
    "toxresult_upload": (Action.UPLOAD_RESULTS,),
    "index_create": (Action.INDEX_CREATE,),
    "index_modify": (Action.INDEX_MODIFY,),
    "index_delete": (Action.INDEX_DELETE,),
}
_MOST_ENTRIES: Final = 1000
_LONGEST_ENTRY: Final = 256
"""The most characters of an entry. Every request with the token reads its lists, and the lists of many tokens are in memory."""
_LISTS: Final = ("allowed", "indexes", "projects")
_KNOWN: Final = (*_LISTS, "expires", "not_before")


class Limits(Struct, frozen=True, kw_only=True):
    """The requested limits, with the names used here."""

    actions: tuple[str, ...] = ACTIONS
    indexes: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    seconds: int | None = YEAR_SECONDS
    """None: the token does not expire."""


def read_restrictions(document: Mapping[str, Any], *, now: Timestamp, unbounded: bool) -> Limits:
    """Read the body of a request for a token. `unbounded`: the token may live longer than a year."""
    problems = [f"Unknown restriction {name!r}; {suggestion(name, _KNOWN)}" for name in document if name not in _KNOWN]
    lists = {name: read for name in _LISTS if (read := _list(name, document.get(name), problems)) is not None}
    actions = _actions(lists["allowed"], problems) if "allowed" in lists else ACTIONS
    indexes = tuple(lists.get("indexes", ()))
    problems.extend(f"{index!r} is no index; write user/index" for index in indexes if index.count("/") != 1)
    projects = tuple(_project(name, problems) for name in lists.get("projects", ()))
    problems.extend(
        f"the list {name!r} is empty: nothing could be done with the token" for name in lists if not lists[name]
    )
    seconds = _seconds(document.get("expires"), now, problems)
    _not_before(document.get("not_before"), now, problems)
    if problems:
        raise Refused(problems)
    if not unbounded and (seconds is None or seconds > YEAR_SECONDS):
        raise Denied(
            "Not allowed to set expiration to more than one year", anonymous=False, hint="only root makes such tokens"
        )
    return Limits(actions=actions, indexes=indexes, projects=projects, seconds=seconds)


def write_restrictions(token: Token) -> list[str]:
    """The limits of a token in the form of devpi-tokens."""
    lines = []
    if token.actions and not set(ACTIONS) <= set(token.actions):
        lines.append(f"allowed={','.join(_words(token.actions))}")
    lines.append(f"expires={'never' if token.expires is None else token.expires // 1_000_000}")
    if token.indexes:
        lines.append(f"indexes={','.join(token.indexes)}")
    if token.projects:
        lines.append(f"projects={','.join(token.projects)}")
    return lines


def _list(name: str, value: Any, problems: list[str]) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        problems.append(f"The {name} restriction must be a list of texts that are not empty")
        return None
    if len(value) > _MOST_ENTRIES or any(len(item) > _LONGEST_ENTRY for item in value):
        problems.append(
            f"The {name} restriction has {len(value)} entries; {_MOST_ENTRIES} of {_LONGEST_ENTRY} characters are possible"
        )
        return None
    return sorted({item.strip() for item in value})


def _actions(words: list[str], problems: list[str]) -> tuple[str, ...]:
    wanted: set[str] = set()
    deletions = [word for word in _DELETIONS if word in words]
    if len(deletions) == len(_DELETIONS):
        wanted.add(Action.DELETE)
    elif deletions:
        problems.append(
            f"{', '.join(deletions)} alone cannot be given: deleting is one permission here, ask for {', '.join(_DELETIONS)}"
        )
    for word in words:
        if word in _WORDS:
            wanted.update(_WORDS[word])
        elif word.startswith(("user_", "user-")) or word in {Action.PASSWORD_CHANGE, Action.TOKEN_MANAGE}:
            problems.append(f"{word!r} is nothing that a token can be allowed")
        elif word in ACTIONS:
            wanted.add(word)
        elif word not in _DELETIONS:
            problems.append(f"unknown permission {word!r}; {suggestion(word, [*_WORDS, *_DELETIONS, *ACTIONS])}")
    return tuple(sorted(str(action) for action in wanted))


def _words(actions: tuple[str, ...]) -> list[str]:
    left = set(actions)
    words = []
    for word, meant in _WORDS.items():
        if set(meant) <= left:
            words.append(word)
            left -= set(meant)
    if Action.DELETE in left:
        words += _DELETIONS
        left -= {Action.DELETE}
    return sorted([*words, *left])


def _project(raw: str, problems: list[str]) -> str:
    name = normalized_or_none(raw)
    if name is None:
        problems.append(f"invalid project name {raw[:80]!r}")
        return raw
    return name


def _seconds(value: Any, now: Timestamp, problems: list[str]) -> int | None:
    if value == "never":
        return None
    if value is None:
        return YEAR_SECONDS
    moment = _epoch(value)
    if moment is None:
        problems.append(f"Invalid value {str(value)[:40]!r} for expiration: write seconds since 1970, or never")
        return YEAR_SECONDS
    seconds = moment - now // 1_000_000
    if seconds <= 0:
        problems.append("Can't set expiration before current time")
    elif seconds > 100 * YEAR_SECONDS:
        problems.append("the expiration is more than a hundred years away: write never")
    return seconds


def _not_before(value: Any, now: Timestamp, problems: list[str]) -> None:
    if value is None:
        return
    moment = _epoch(value)
    if moment is None:
        problems.append(f"Invalid value {str(value)[:40]!r} for not before")
    elif moment > now // 1_000_000:
        problems.append("not_before lies in the future, and a token is valid at once here: make it when it is needed")


def _epoch(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
