"""Kinds of settings: how a text becomes a value, and which texts are refused.

Numbers and truth values are read as Python's `configparser` reads them. A refusal is a `ValueError` with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from pkgindex_mirror.file_policies import FilePolicies, read_rules

_TRUTHS: Final = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}


class SettingKind(Struct, frozen=True):
    """A kind of setting."""

    shown: str
    """Its name for people, such as `a whole number`."""
    read: Callable[[str], Any]
    """Makes a value of a text without blanks around it. Raises `ValueError`."""


def text(value: str) -> str:
    """One line of text."""
    if "\n" in value:
        raise ValueError("this is one text, and has several lines")
    return value


def boolean(value: str) -> bool:
    """A truth value in the eight spellings of `configparser`."""
    if value.lower() not in _TRUTHS:
        raise ValueError(f"{value!r} is neither true nor false")
    return _TRUTHS[value.lower()]


def whole(at_least: int) -> Callable[[str], int]:
    """Whole numbers with a lower bound."""

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is no whole number") from None
        if number < at_least:
            raise ValueError(f"{number} is less than {at_least}")
        return number

    return read


def number(at_most: float = math.inf) -> Callable[[str], float]:
    """Finite numbers from 0 on."""

    def read(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            raise ValueError(f"{value!r} is no number") from None
        if not math.isfinite(found) or not 0 <= found <= at_most:
            raise ValueError(
                f"{value} is not from 0 to {at_most:g}" if at_most < math.inf else f"{value} is no size of time"
            )
        return found

    return read


def choice(words: Collection[str], *, fold: Callable[[str], str] = str) -> Callable[[str], str]:
    """One of some words, in the spelling that `fold` makes."""

    def read(value: str) -> str:
        if fold(value) not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
        return fold(value)

    return read


def url(*schemes: str, required: bool = False) -> Callable[[str], str]:
    """URLs of some schemes, without a slash at the end. The refusal does not repeat the URL, which may have a password."""

    def read(value: str) -> str:
        if not value and not required:
            return ""
        try:
            parts = urlsplit(text(value))
            host = parts.hostname
        except ValueError:
            raise ValueError("this is no URL") from None
        if parts.scheme not in schemes or not host:
            raise ValueError(f"this is no URL that begins with {' or '.join(f'{each}://' for each in schemes)}")
        return value.rstrip("/")

    return read


def prefix(value: str) -> str:
    """The text before a path, without a slash at its end."""
    return text(value).rstrip("/")


def file_policies(value: str) -> tuple[str, ...]:
    """Rules, one a line: a pattern of project names, and a policy. Names in the result are normalised."""
    return FilePolicies(read_rules(filter(None, map(str.strip, value.split("\n"))))).written


def seconds_of_request(value: str) -> float:
    """Seconds; 0 stands for five hours, as in bandersnatch."""
    return number()(value) or 5 * 3600.0


TEXT: Final = SettingKind("a text", text)
BOOLEAN: Final = SettingKind("true or false", boolean)
AT_LEAST_ZERO: Final = SettingKind("a whole number", whole(0))
AT_LEAST_ONE: Final = SettingKind("a whole number from 1 on", whole(1))
NUMBER: Final = SettingKind("a number", number())
PERCENTAGE: Final = SettingKind("a number from 0 to 100", number(100))
SECONDS: Final = SettingKind("seconds", number())
REQUEST_SECONDS: Final = SettingKind("seconds", seconds_of_request)
WEB_URL: Final = SettingKind("a URL", url("http", "https", required=True))
PREFIX: Final = SettingKind("the beginning of a URL", prefix)
OTHER_WEB_URL: Final = SettingKind("a URL", url("http", "https"))
FILE_POLICIES: Final = SettingKind("patterns with policies", file_policies)
PROXY_URL: Final = SettingKind("a URL", url("http", "https", "socks4", "socks5"))
