"""Parsers of the values of index options: from text or JSON to the value in an `IndexConfig`, or an error.

devpi's client sends everything as text (`volatile=True`, `bases=root/pypi,team/base`); programs send JSON. Both mean the same.
Messages are devpi's where devpi has one. They never repeat a URL's credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.formats.quantities import quantity
from pkgindex_core.formats.upload_rules import RULES
from pkgindex_core.formats.versions import is_pep440
from pkgindex_core.models import ANONYMOUS, AUTHENTICATED, IndexConfig
from pkgindex_core.names import IndexName, parse_index_name, parse_project_name, parse_user_name
from pkgindex_core.rules.kept_options import mirror_options, with_options
from pkgindex_core.urls import same_server, without_credentials

_TRUE = frozenset({"true", "yes", "1", "on"})
_FALSE = frozenset({"false", "no", "0", "off"})
VALUE_LIMIT: Final = 64 * 1024
"""The most bytes of a free text or value. Anonymous clients may ask for documents that hold the texts of many indexes."""
_ELSEWHERE = "keep long texts elsewhere, and write a link to them"
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
    """Read `true`, `yes`, `1`, `on` and their opposites, in any case."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Refused(f"Unknown boolean value {str(value)[:_SHOWN]!r}.", hint="write true or false")


def text(value: Any) -> str:
    """Read text of a bounded length. Other values are converted to text."""
    written = str(value)
    if len(_as_utf8(written)) > VALUE_LIMIT:
        raise Refused(f"the text is longer than {VALUE_LIMIT} bytes", hint=_ELSEWHERE)
    return written


def anything(value: Any) -> Any:
    """Read any JSON value of a bounded length."""
    plain = msgspec.to_builtins(value)
    try:
        written = msgspec.json.encode(plain)
    except UnicodeEncodeError as error:
        raise _half_a_character() from error
    if len(written) > VALUE_LIMIT:
        raise Refused(f"the value is longer than {VALUE_LIMIT} bytes of JSON", hint=_ELSEWHERE)
    return plain


def _as_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _half_a_character() from error


def _half_a_character() -> Refused:
    return Refused("the text has half of a character (a lone surrogate)", hint="send text in UTF-8")


def words(value: Any) -> tuple[str, ...]:
    """Read a list, or text with commas. Blanks around words and empty words are dropped."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise Refused(f"Unknown list value {str(value)[:_SHOWN]!r}.", hint="write a list, or text with commas")
    return tuple(word for word in (str(part).strip() for part in parts) if word)


def entry_count(value: Any) -> int:
    """The most entries that a list, or a text of lines or of words with commas, can have. Does not parse them."""
    if isinstance(value, str):
        return value.count("\n" if "\n" in value else ",") + 1
    return len(value) if isinstance(value, list | tuple) else 1


def principals(value: Any) -> tuple[str, ...]:
    """Read users, `:group`s, `:ANONYMOUS:` and `:AUTHENTICATED:` (in any case)."""
    return tuple(_principal(word) for word in words(value))


def project_names(value: Any) -> tuple[str, ...]:
    """Read project names, normalised, and `*` for all, in the given order."""
    return tuple(word if word == "*" else parse_project_name(word) for word in words(value))


def base_names(value: Any) -> tuple[IndexName, ...]:
    """Read names of indexes, each once, without slashes around them. Does not check whether the indexes exist."""
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
    """Read `intersection` or `union`."""
    word = str(value).lower()
    if word not in {"intersection", "union"}:
        raise Refused(
            f"Unknown value {word[:_SHOWN]!r} for mirror_whitelist_inheritance, must be 'intersection' or 'union'."
        )
    return word


_COME_BACK = frozenset({408, 425, 429})
"""Client errors that mean "not now" (RFC 9110, 8470, 6585)."""


def absent_statuses(value: Any) -> tuple[int, ...]:
    """Read HTTP statuses that mean absent: client errors, each once."""
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
    """Read `lenient` or `pypi`."""
    word = str(value).lower()
    if word not in RULES:
        raise Refused(f"Unknown value {word[:_SHOWN]!r} for upload_rules, must be 'lenient' or 'pypi'.")
    return word


def upload_time(value: Any) -> str:
    """Read `upstream` or `first-seen`."""
    word = str(value).lower()
    if word not in {"upstream", "first-seen"}:
        raise Refused(f"Unknown value {word[:_SHOWN]!r} for upload_time, must be 'upstream' or 'first-seen'.")
    return word


_LONGEST_EXPIRY = 10**9
"""Seconds: thirty years. An unbounded number cannot be stored."""


def expiry(value: Any) -> int:
    """Read seconds, 0 or more."""
    try:
        seconds = -1 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds <= _LONGEST_EXPIRY:
        raise Refused("'mirror_cache_expiry' option must be an integer", hint="it is a number of seconds, 0 or more")
    return seconds


_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def history(value: Any) -> int:
    """Seconds, 0 or more; a word may end in a unit, as `30d`."""
    return _seconds(value, "mirror_history", "keeps no past")


def age(value: Any) -> int:
    """Seconds, 0 or more; a word may end in a unit, as `30d`."""
    return _seconds(value, "retain_age", "keeps nothing by its age")


def _seconds(value: Any, option: str, nothing: str) -> int:
    word = value.strip().lower() if isinstance(value, str) else ""
    unit = _UNITS.get(word[-1:])
    try:
        seconds = -1 if isinstance(value, bool) else int(word[:-1]) * unit if unit else int(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds <= _LONGEST_EXPIRY:
        raise Refused(
            f"{option!r} option must be a length of time",
            hint=f"it is a number of seconds, or a number with s, m, h, d or w, such as 30d; 0 {nothing}",
        )
    return seconds


_MOST_BYTES: Final = 2**60


def amount(value: Any) -> int:
    """Bytes, 0 or more; a word may have a unit, as `20GiB`."""
    read = quantity(value, "bytes") if isinstance(value, str) and len(value) < _SHOWN else value
    number = read if isinstance(read, int) and not isinstance(read, bool) else -1
    if not 0 <= number <= _MOST_BYTES:
        raise Refused(
            "the option must be an amount of bytes",
            hint="it is a number, or one with a unit, such as 20GiB; 0 is no bound",
        )
    return number


_MOST_SIZES: Final = 1000
_MOST_RELEASES: Final = 1_000_000


def sizes(value: Any) -> int:
    """A number of files, at most 1,000, since each costs a request."""
    return _number(value, "'mirror_sizes' option must be a number of files", _MOST_SIZES)


def releases(value: Any) -> int:
    """A number of releases."""
    return _number(value, "the option must be a number of releases", _MOST_RELEASES)


def _number(value: Any, problem: str, most: int) -> int:
    try:
        number = -1 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= most:
        raise Refused(problem, hint=f"it is a number from 0 to {most}")
    return number


def pins(value: Any) -> tuple[str, ...]:
    """Read `PROJECT` and `PROJECT==VERSION`, with normalised names, each once."""
    return tuple(dict.fromkeys(_pin(word) for word in words(value)))


def _pin(word: str) -> str:
    name, equals, version = (part.strip() for part in word.partition("=="))
    if bool(equals) != bool(version) or (version and not is_pep440(version)):
        raise Refused(f"{word[:_SHOWN]!r} names no release", hint="write PROJECT or PROJECT==VERSION")
    return f"{parse_project_name(name)}{equals}{version}"


def mirror_url(value: Any) -> str:
    """Read the URL of a simple index, which may have credentials."""
    url = str(value).strip()
    if not url.startswith(("https://", "http://")) or not url.isprintable():
        raise Refused("'mirror_url' option must be a URL.", hint="it begins with https:// or http://")
    if "?" in url or "#" in url:
        raise Refused("'mirror_url' has a query or a fragment", hint="give the URL of the simple index itself")
    without_credentials(url)
    return url


def web_url(value: Any) -> str:
    """Read the URL of a web page about a project, with `{name}` in place of its name."""
    url = str(value).strip()
    if url and (not url.startswith(("https://", "http://")) or not url.isprintable() or without_credentials(url)[1]):
        raise Refused(
            "'mirror_web_url_fmt' option must be a URL without credentials",
            hint="for example https://pypi.org/project/{name}/",
        )
    return url


def with_mirror_url(config: IndexConfig, url: str) -> IndexConfig:
    """Set a mirror's upstream; its credentials are kept apart.

    Credentials are never shown, so a document that is read and written back lacks them. A URL without credentials therefore keeps the
    stored ones, but only for the same server, so that another server never gets them. `https://@host/` removes them.
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
    # Groups have the names of an external directory: `release managers`, or a whole distinguished name.
    if not group or not group.isprintable() or group.endswith(":") or len(group) > _GROUP_LIMIT:
        raise Refused(f"invalid group {word[:_SHOWN]!r}", hint="write :group, :ANONYMOUS: or :AUTHENTICATED:")
    return word
