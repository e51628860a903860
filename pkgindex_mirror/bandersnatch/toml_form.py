"""The form `pkgindex-mirror.toml`: the same settings with lists, numbers and truth values, without interpolation.

[mirror] and [s3]      keys as in bandersnatch.conf
[filters]              enabled = ["allowlist_project"]
[filters.allowlist]    the section [allowlist] of bandersnatch.conf, and so on
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from typing import Any, Final

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion
from pkgindex_mirror.bandersnatch.ini_form import decoded
from pkgindex_mirror.bandersnatch.raw_settings import RawSettings

TABLES: Final = ("mirror", "s3", "filters")
ENABLED: Final = "enabled"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def read_toml(data: bytes) -> RawSettings:
    """Read the bytes of a file. Raises `Refused` with all that is wrong."""
    try:
        document = tomllib.loads(decoded(data))
    except RecursionError as error:
        raise Refused("this is no TOML that can be read: it is nested too deeply") from error
    except ValueError as error:  # also of a number with thousands of digits
        raise Refused(f"this is no TOML: {error}") from error
    problems: list[str] = []
    sections: dict[str, dict[str, str]] = {}
    for table, keys in document.items():
        if table not in TABLES:
            problems.append(f"there is no table [{table}]: {suggestion(table, TABLES)}")
        elif not isinstance(keys, dict):
            problems.append(f"{table} is a table: write [{table}]")
        elif table == "filters":
            for name, value in keys.items():
                if name == ENABLED:
                    sections["plugins"] = dict(_texts("filters", {ENABLED: value}, problems))
                elif isinstance(value, dict):
                    sections[name] = dict(_texts(f"filters.{name}", value, problems))
                else:
                    problems.append(f"[filters] {name} is a table: write [filters.{name}]")
        else:
            sections[table] = dict(_texts(table, keys, problems))
    if problems:
        raise Refused(problems)
    return RawSettings(form="toml", sections=sections)


def _texts(table: str, keys: Mapping[str, Any], problems: list[str]) -> Iterator[tuple[str, str]]:
    """The values as the texts that bandersnatch.conf would have."""
    for key, value in keys.items():
        if isinstance(value, bool):
            yield key, str(value).lower()
        elif "\0" in str(value):
            problems.append(f"[{table}] {key} has a NUL")
        elif isinstance(value, int | float | str):
            yield key, str(value)
        elif isinstance(value, date | time):
            yield key, value.isoformat()
        elif isinstance(value, list) and all(isinstance(each, str) and "\n" not in each for each in value):
            yield key, "\n".join(value)
        elif isinstance(value, list):
            problems.append(f"[{table}] {key} is a list of texts of one line each")
        else:
            problems.append(f"[{table}] {key} is a text, a number, true, false or a list of texts")


def toml_table(
    name: Iterable[str], keys: Mapping[str, Any], comments: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The lines of a table with its keys, those with a comment below it."""
    yield f"[{'.'.join(map(_key, name))}]"
    for key, value in keys.items():
        if comments and comments.get(key):
            yield f"# {comments[key]}"
        yield f"{_key(key)} = {_value(value)}"


def _key(name: str) -> str:
    return name if _BARE_KEY.match(name) else _string(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    entries = [_string(each) for each in value]
    if len(entries) < 2:
        return f"[{''.join(entries)}]"
    return "\n".join(["[", *(f"    {each}," for each in entries), "]"])


def _string(value: str) -> str:
    """A basic string. It is a JSON string, in which TOML forbids one more character than JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
