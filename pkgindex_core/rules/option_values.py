"""How the values of index options are written: from text or JSON to what an `IndexConfig` holds, or a sentence of what is wrong.

devpi's client sends everything as text (`volatile=True`, `bases=root/pypi,team/base`), programs send JSON; both mean the same.
Sentences are devpi's where it has one. None of them repeats a URL's credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.formats.upload_rules import RULES
from pkgindex_core.models import ANONYMOUS, AUTHENTICATED, IndexConfig
from pkgindex_core.names import IndexName, parse_index_name, parse_project_name, parse_user_name
from pkgindex_core.rules.kept_options import mirror_options, with_options
from pkgindex_core.urls import same_server, without_credentials

_TRUE = frozenset({"true", "yes", "1", "on"})
_FALSE = frozenset({"false", "no", "0", "off"})
VALUE_LIMIT: Final = 64 * 1024
"""Bytes of a free text or value. Documents of many indexes hold all of theirs, and anybody may ask for those."""
_ELSEWHERE = "keep what is long elsewhere, and write down where"
_SHOWN = 80
_GROUP_LIMIT = 256


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Read `key=value` words of a command line."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refused(f"cannot read the option {pair!r}", hint="write key=value, for example bases=root/pypi")
        options[key] = value
    return options


def boolean(value: Any) -> bool:
    """`true`, `yes`, `1`, `on` and their opposites, in any case."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Refused(f"Unknown boolean value {str(value)[:_SHOWN]!r}.", hint="write true or false")


def text(value: Any) -> str:
    """Any text of a bounded length; what is not text is written as it is spelled."""
    written = str(value)
    if len(written.encode(errors="replace")) > VALUE_LIMIT:
        raise Refused(f"the text is longer than {VALUE_LIMIT} bytes", hint=_ELSEWHERE)
    return written


def anything(value: Any) -> Any:
    """Whatever JSON can say in a bounded length."""
    plain = msgspec.to_builtins(value)
    if len(msgspec.json.encode(plain)) > VALUE_LIMIT:
        raise Refused(f"the value is longer than {VALUE_LIMIT} bytes of JSON", hint=_ELSEWHERE)
    return plain


def words(value: Any) -> tuple[str, ...]:
    """A list, or text with commas. Blanks around words and empty words do not count."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise Refused(f"Unknown list value {str(value)[:_SHOWN]!r}.", hint="write a list, or text with commas")
    return tuple(word for word in (str(part).strip() for part in parts) if word)


def entry_count(value: Any) -> int:
    """How many entries a list has, or a text of lines or of words with commas, at most; without reading them."""
    if isinstance(value, str):
        return value.count("\n" if "\n" in value else ",") + 1
    return len(value) if isinstance(value, list | tuple) else 1


def principals(value: Any) -> tuple[str, ...]:
    """Users, `:group`s, `:ANONYMOUS:` and `:AUTHENTICATED:` (in any case)."""
    return tuple(_principal(word) for word in words(value))


def project_names(value: Any) -> tuple[str, ...]:
    """Project names, normalised, and `*` for all, in the order given."""
    return tuple(word if word == "*" else parse_project_name(word) for word in words(value))


def base_names(value: Any) -> tuple[IndexName, ...]:
    """Names of indexes, each once, slashes around them passed over. Whether they exist is for the caller, which knows the tree."""
    problems: list[str] = []
    names: dict[IndexName, None] = {}
    for word in words(value):
        try:
            names[parse_index_name(word.strip("/"))] = None
        except Refused:
            problems.append(f"invalid base index spec: {word[:_SHOWN]!r}")
    if problems:
        raise Refused(problems, hint="write bases as user/index, for example root/pypi")
    return tuple(names)


def inheritance(value: Any) -> str:
    """`intersection` or `union`."""
    word = str(value).lower()
    if word not in {"intersection", "union"}:
        raise Refused(
            f"Unknown value {word[:_SHOWN]!r} for mirror_whitelist_inheritance, must be 'intersection' or 'union'."
        )
    return word


_COME_BACK = frozenset({408, 425, 429})
"""Client errors that say "not now" (RFC 9110, 8470, 6585)."""


def absent_statuses(value: Any) -> tuple[int, ...]:
    """HTTP statuses, each once: client errors that say "there is none"."""
    statuses: dict[int, None] = {}
    for word in words([value] if isinstance(value, int) else value):
        status = int(word) if word.isascii() and word.isdigit() and len(word) == 3 else 0
        if not 400 <= status <= 499 or status in _COME_BACK:
            raise Refused(
                f"{word[:_SHOWN]!r} is no status that can mean absent",
                hint="write 404,410,403 or other statuses from 400 to 499; 408, 425 and 429 mean `not now`",
            )
        statuses[status] = None
    if not statuses:
        raise Refused("'absent_statuses' option is empty", hint="write at least one status; the default is 404,410")
    return tuple(statuses)


def upload_rules(value: Any) -> str:
    """`lenient` or `pypi`."""
    word = str(value).lower()
    if word not in RULES:
        raise Refused(f"Unknown value {word[:_SHOWN]!r} for upload_rules, must be 'lenient' or 'pypi'.")
    return word


_LONGEST_EXPIRY = 10**9
"""Thirty years; a number without bound cannot be stored."""


def expiry(value: Any) -> int:
    """Seconds, 0 or more."""
    try:
        seconds = -1 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        seconds = -1
    if not 0 <= seconds <= _LONGEST_EXPIRY:
        raise Refused("'mirror_cache_expiry' option must be an integer", hint="it is a number of seconds, 0 or more")
    return seconds


def mirror_url(value: Any) -> str:
    """The URL of a simple index as it was given, perhaps with a user name and password."""
    url = str(value).strip()
    if not url.startswith(("https://", "http://")) or not url.isprintable():
        raise Refused("'mirror_url' option must be a URL.", hint="it begins with https:// or http://")
    if "?" in url or "#" in url:
        raise Refused("'mirror_url' has a query or a fragment", hint="give the URL of the simple index itself")
    without_credentials(url)
    return url


def web_url(value: Any) -> str:
    """Where people read about a project, with `{name}` in its place."""
    url = str(value).strip()
    if url and (not url.startswith(("https://", "http://")) or not url.isprintable() or without_credentials(url)[1]):
        raise Refused(
            "'mirror_web_url_fmt' option must be a URL without credentials",
            hint="for example https://pypi.org/project/{name}/",
        )
    return url


def with_mirror_url(config: IndexConfig, url: str) -> IndexConfig:
    """Point a mirror at an upstream, its credentials kept apart.

    They are never shown, so a document that is read and written back does not have them: a URL without any keeps those that are stored,
    as long as it leads to the same server. Elsewhere they would be told to a stranger. `https://@host/` takes them away.
    """
    plain, credentials = without_credentials(url)
    if credentials == ":":
        credentials = ""
    elif not credentials and same_server(plain, (before := mirror_options(config)).url):
        credentials = before.credentials
    return with_options(config, mirror_url=plain, mirror_credentials=credentials)


def _principal(word: str) -> str:
    if word.upper() in {ANONYMOUS, AUTHENTICATED}:
        return word.upper()
    group = word.removeprefix(":")
    if group == word:
        return parse_user_name(word)
    # Groups are called what somebody else's directory calls them: `release managers`, or a whole distinguished name.
    if not group or not group.isprintable() or group.endswith(":") or len(group) > _GROUP_LIMIT:
        raise Refused(f"invalid group {word[:_SHOWN]!r}", hint="write :group, :ANONYMOUS: or :AUTHENTICATED:")
    return word
