"""Credentials of upstreams that stand outside their URLs: variables of the environment, and netrc.

    user:password@ in the URL   before   PKGINDEX_CREDENTIALS_PACKAGES_EXAMPLE_COM   before   the entry of the host in netrc

An entry `default` of netrc is not used: it would send a password to every index.
"""

from __future__ import annotations

import netrc
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from pkgindex_core.errors import Refused
from pkgindex_core.options import CREDENTIALS
from pkgindex_core.urls import without_credentials

_NOT_IN_VARIABLES: Final = re.compile(r"[^A-Z0-9]")


class KnownCredentials:
    """The credentials of hosts."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Reads netrc. Raises `Refused` if it cannot be read."""
        self._environ = environ
        self._netrc = _read_netrc(environ)

    def put_into(self, url: str) -> str:
        """Put the credentials of its host into a URL. A URL with credentials, or one of a host without known ones, stays as it is."""
        plain, credentials = without_credentials(url)
        host = urlsplit(plain).hostname or ""
        if not credentials:
            credentials = self._environ.get(variable_of(host), "") or self._of_netrc(host)
        if not credentials:
            return plain
        user, _, password = credentials.partition(":")
        parts = urlsplit(plain)
        return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))

    def _of_netrc(self, host: str) -> str:
        entry = self._netrc.hosts.get(host) if self._netrc is not None and host != "default" else None
        return f"{entry[0]}:{entry[2]}" if entry is not None else ""


def variable_of(host: str) -> str:
    """The variable that has `user:password` for a host."""
    return f"{CREDENTIALS}{_NOT_IN_VARIABLES.sub('_', host.upper())}"


def _read_netrc(environ: Mapping[str, str]) -> netrc.netrc | None:
    named = environ.get("NETRC")
    home = Path(environ.get("HOME", "~")).expanduser()
    places = [Path(named)] if named else [home / ".netrc", home / "_netrc"]
    place = next((each for each in places if each.is_file()), None)
    if place is None:
        return None
    try:
        return netrc.netrc(str(place))
    except netrc.NetrcParseError as error:
        # The message of the error may quote a line with a password.
        raise Refused(
            f"{place} cannot be read: there is something wrong in line {error.lineno}",
            hint="correct it, or name another file with the variable NETRC",
        ) from None
    except (OSError, UnicodeError) as error:
        raise Refused(f"{place} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}") from error
