"""proxpi's variables (1.3 and 1.4): what each becomes here. Pure.

Numbers and truth values are read as proxpi reads them. All problems are reported together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import nearest
from pkgindex_http.proxpi.settings import EXPIRY, UpstreamSettings

PREFIX: Final = "PROXPI_"
EXTRA_EXPIRY: Final = 180
"""proxpi's for its extra indexes."""
_NO: Final = frozenset({"", "0", "no", "off", "false"})
_CONNECT, _READ = 3.1, 20.0
"""Seconds; proxpi's for the time-out that is not given, if the other one is."""
_LEVELS: Final = {
    "DEBUG": "debug",
    "INFO": "info",
    "WARNING": "warning",
    "WARN": "warning",
    "ERROR": "error",
    "CRITICAL": "error",
    "FATAL": "error",
}
_OF_THE_FIRST: Final = ("INDEX_URL", "INDEX_TTL")
_OF_OTHERS: Final = ("EXTRA_INDEX_URLS", "EXTRA_INDEX_TTLS", "EXTRA_INDEX_TTL")
_UPSTREAM: Final = (*_OF_THE_FIRST, *_OF_OTHERS)
WITHOUT_MEANING: Final[Mapping[str, str]] = {
    "DOWNLOAD_TIMEOUT": "a file is streamed while it is fetched, so no client is sent to the upstream for it",
    "BINARY_FILE_MIME_TYPE": "every file has the type application/octet-stream",
}
"""Variables that are accepted and change nothing, each with the reason."""
KNOWN: Final = (
    *_UPSTREAM,
    "CACHE_SIZE",
    "CACHE_DIR",
    "CONNECT_TIMEOUT",
    "READ_TIMEOUT",
    "DISABLE_INDEX_SSL_VERIFICATION",
    "LOGGING_LEVEL",
    *WITHOUT_MEANING,
)
# A Kubernetes service or a linked container called `proxpi` puts PROXPI_PORT=tcp://10.0.0.1:5000 and its like into the environment.
_SERVICE_LINK: Final = re.compile(r"(?:SERVICE_(?:HOST|PORT\w*)|PORT(?:_\d+_(?:TCP|UDP)\w*)?|NAME|ENV_\w+)\Z")

Value = TypeVar("Value")


class ProxpiVariables(Struct, frozen=True, kw_only=True):
    """The meaning of the variables that are set."""

    upstreams: tuple[UpstreamSettings, ...] = ()
    """Empty: no variable names one or says how long its pages are fresh."""
    cache_directory: str | None = None
    cache_size: int | None = None
    """Bytes. 0: no file is kept."""
    mirror: Mapping[str, Any] = {}
    """Entries for the table `[plugins.mirror]`."""
    log_level: str | None = None
    remarks: Sequence[str] = ()
    """A line for each variable that means nothing here, or that is not proxpi's."""

    def __repr__(self) -> str:
        return f"ProxpiVariables({self.upstreams!r})"


def read_variables(environ: Mapping[str, str], *, upstream: str) -> ProxpiVariables:
    """Read the variables. `upstream`: the URL of the first index when only others are named. Raises one `Refused` with all problems."""
    given = {name.removeprefix(PREFIX): text for name, text in environ.items() if name.startswith(PREFIX)}
    reader = _VariableReader(given)
    found = ProxpiVariables(
        upstreams=reader.upstreams(upstream) if any(given.get(name) for name in _UPSTREAM) else (),
        cache_directory=given.get("CACHE_DIR") or None,
        cache_size=reader.number("CACHE_SIZE", int),
        mirror=reader.mirror(),
        log_level=reader.log_level(),
        remarks=tuple(_remarks(given)),
    )
    if reader.problems:
        raise Refused(reader.problems, hint="correct the variables of proxpi, or unset them")
    return found


class _VariableReader:
    """Reads single variables and collects what is wrong with them. Values of URLs are in no message."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.problems: list[str] = []

    def number(self, name: str, kind: Callable[[str], Value]) -> Value | None:
        """A number from 0 on; None when the variable is not set or empty."""
        text = self._given.get(name, "").strip()
        if not text:
            return None
        try:
            number: Any = kind(text)
        except ValueError:
            number = -1
        if not 0 <= number < float("inf"):
            self.problems.append(f"{PREFIX}{name}: a number from 0 on is expected, not {text[:40]!r}")
            return None
        return number  # type: ignore[no-any-return]  # of the kind

    def upstreams(self, upstream: str) -> tuple[UpstreamSettings, ...]:
        url = self._given.get("INDEX_URL", "").strip() or upstream
        expiry = self.number("INDEX_TTL", int)
        extra = [each.strip() for each in self._given.get("EXTRA_INDEX_URLS", "").split(",") if each.strip()]
        name = "EXTRA_INDEX_TTL" if self._given.get("EXTRA_INDEX_TTL") else "EXTRA_INDEX_TTLS"
        expiries = self._numbers(name) or [EXTRA_EXPIRY] * len(extra)
        if len(expiries) != len(extra):
            self.problems.append(
                f"{PREFIX}{name} has {len(expiries)} values, and {PREFIX}EXTRA_INDEX_URLS has {len(extra)} URLs"
            )
            return ()
        first = UpstreamSettings(url=url, expiry=EXPIRY if expiry is None else expiry)
        others = zip(extra, expiries, strict=True)
        return (first, *(UpstreamSettings(url=each, expiry=seconds) for each, seconds in others))

    def _numbers(self, name: str) -> list[int]:
        texts = [each.strip() for each in self._given.get(name, "").split(",") if each.strip()]
        if not all(each.isascii() and each.isdigit() for each in texts):
            self.problems.append(f"{PREFIX}{name}: numbers from 0 on are expected, separated by commas")
            return [0] * len(texts)
        return list(map(int, texts))

    def mirror(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        connect, read = self.number("CONNECT_TIMEOUT", float), self.number("READ_TIMEOUT", float)
        if connect or read:
            table |= {"connect_timeout": connect or _CONNECT, "read_timeout": read or _READ}
        if self._given.get("DISABLE_INDEX_SSL_VERIFICATION", "") not in _NO:
            table["verify_tls"] = False
        return table

    def log_level(self) -> str | None:
        text = self._given.get("LOGGING_LEVEL", "").strip()
        if not text:
            return None
        level = _LEVELS.get(text.upper())
        if level is None:
            self.problems.append(f"{PREFIX}LOGGING_LEVEL: {', '.join(_LEVELS)} are known, not {text[:40]!r}")
        return level


def _remarks(given: Mapping[str, str]) -> list[str]:
    lines = [f"{PREFIX}{name}: {why}" for name, why in WITHOUT_MEANING.items() if given.get(name)]
    for name, text in sorted(given.items()):
        if name not in KNOWN and not _SERVICE_LINK.match(name) and not text.startswith(("tcp://", "udp://")):
            close = nearest(name, KNOWN)
            meant = f"; did you mean {PREFIX}{close}?" if close else ""
            lines.append(f"{PREFIX}{name[:40]} is no variable of proxpi and changes nothing{meant}")
    return lines
