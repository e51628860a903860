"""Users that a reverse proxy has identified: who may say so, and what then counts.

A proxy in front that does the log-ins (single sign-on, client certificates, Kerberos) names the user in a header. A header is
only text, so it is believed under two conditions at once: the connection comes from `trusted_proxies`, and the request carries the
shared secret, which is compared in constant time. Without both the header is ignored, as if it had not been sent: whoever sends it
has the rights that they have without it. Set up by halves, the server does not start.
"""

from __future__ import annotations

import hmac
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.config import Settings
from pkgindex_core.errors import Denied, Refused
from pkgindex_core.names import parse_user_name
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.permissions import ROOT

if TYPE_CHECKING:
    from aiohttp import web

    from pkgindex_http.origin import Origin

logger = logging.getLogger("pkgindex.http")

_DOCUMENT: Final = Path(__file__).with_name("PROXIES.md")  # it is installed too
_NAME: Final = re.compile(r"\A[A-Za-z][A-Za-z0-9-]*\Z")
_TAKEN: Final = frozenset({"authorization", "cookie", "host", "x-devpi-auth", "x-forwarded-for", "x-forwarded-host"})
_SECRET_LENGTH: Final = 16


class RemoteUsers:
    """Reads whom the proxy names. Off without `remote_user.header`."""

    def __init__(self, settings: Settings, origin: Origin) -> None:
        self._settings = settings.remote_user
        self._origin = origin
        problems = _problems(settings)
        if problems:
            raise Refused(problems, hint=f"{_DOCUMENT} shows the whole of it, with nginx")

    def principal(self, request: web.BaseRequest) -> Principal | None:
        """Whom a proxy that may say so has named; None when nobody has."""
        header = self._settings.header
        if not header or header not in request.headers or not self._origin.is_trusted(request):
            return None
        secrets = request.headers.getall(self._settings.secret_header, [])
        wanted = self._settings.secret.encode()
        if len(secrets) != 1 or not hmac.compare_digest(secrets[0].encode("utf-8", "surrogateescape"), wanted):
            logger.warning("a trusted proxy sent %s without the right secret; it was ignored", header)
            return None
        names = request.headers.getall(header)
        if len(names) != 1:
            raise Denied(
                "the proxy names more than one user", anonymous=False, hint="let it replace the header, not add to it"
            )
        if not names[0].strip():
            return None
        return Principal(name=_user(names[0].strip()), groups=self._groups(request))

    def _groups(self, request: web.BaseRequest) -> tuple[str, ...]:
        if not self._settings.groups_header:
            return ()
        lines = request.headers.getall(self._settings.groups_header, [])
        if len(lines) > 1:
            raise Denied(
                "the proxy sends the groups twice", anonymous=False, hint="let it replace the header, not add to it"
            )
        return tuple(sorted({group.strip() for line in lines for group in line.split(",") if group.strip()}))


def _user(name: str) -> str:
    try:
        parse_user_name(name)
    except Refused as error:
        raise Denied("the proxy names a user that cannot exist here", anonymous=False, hint=error.hint) from error
    if name == ROOT:
        raise Denied("root logs in with its password, not through the proxy", anonymous=False)
    return name


def _problems(settings: Settings) -> list[str]:
    remote = settings.remote_user
    if not remote.header:
        return ["remote_user.groups_header: it needs remote_user.header"] if remote.groups_header else []
    problems: list[str] = []
    names = {"header": remote.header, "secret_header": remote.secret_header, "groups_header": remote.groups_header}
    problems.extend(
        f"remote_user.{option}: {name!r} cannot be used; write a header's name in letters, digits and -"
        for option, name in names.items()
        if name and (not _NAME.match(name) or name.lower() in _TAKEN)
    )
    given = [name.lower() for name in names.values() if name]
    if len(set(given)) < len(given):
        problems.append("remote_user: the headers must have different names")
    if len(remote.secret) < _SECRET_LENGTH:
        problems.append(
            f"remote_user.secret: it has at least {_SECRET_LENGTH} characters, and the proxy sends it in {remote.secret_header}"
        )
    if not remote.secret_header:
        problems.append("remote_user.secret_header: it is empty")
    if not settings.trusted_proxies:
        problems.append("trusted_proxies: name the proxy that sends remote_user.header")
    return problems
