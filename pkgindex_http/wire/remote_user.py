"""Reads the user that a reverse proxy names in a header.

For a proxy that does the log-ins (single sign-on, client certificates, Kerberos). The header counts if the connection comes from
`trusted_proxies` and the request has the shared secret, which is compared in constant time. Otherwise the header is ignored,
as if it had not been sent. With only some of the options set the server does not start.
"""

from __future__ import annotations

import hmac
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.errors import Denied, Refused
from pkgindex_core.names import parse_user_name
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.permissions import ROOT
from pkgindex_http.settings import ServerSettings

if TYPE_CHECKING:
    from pkgindex_http.wire import web
    from pkgindex_http.wire.origin import OriginReader

logger = logging.getLogger("pkgindex.http")

_DOCUMENT: Final = Path(__file__).parents[2] / "pkgindex_http/PROXIES.md"  # a file of the installed package
_NAME: Final = re.compile(r"\A[A-Za-z][A-Za-z0-9-]*\Z")
_TAKEN: Final = frozenset({"authorization", "cookie", "host", "x-devpi-auth", "x-forwarded-for", "x-forwarded-host"})
_SECRET_LENGTH: Final = 16


class RemoteUsers:
    """Reads the user that the proxy names. Off without `remote_user.header`."""

    def __init__(self, settings: ServerSettings, origin: OriginReader) -> None:
        self._settings = settings.remote_user
        self._origin = origin
        problems = _problems(settings)
        if problems:
            raise Refused(problems, hint=f"{_DOCUMENT} has a complete configuration for nginx")

    def is_named(self, request: web.BaseRequest) -> bool:
        """Whether the request has the header in which a proxy names the user."""
        return bool(self._settings.header) and self._settings.header in request.headers

    def principal(self, request: web.BaseRequest) -> Principal | None:
        """The user that a trusted proxy names; None if there is none."""
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
                "the proxy names more than one user",
                anonymous=False,
                hint="let the proxy replace the header of the client",
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
                "the proxy sends the groups twice",
                anonymous=False,
                hint="let the proxy replace the header of the client",
            )
        return tuple(sorted({group.strip() for line in lines for group in line.split(",") if group.strip()}))


def _user(name: str) -> str:
    try:
        parse_user_name(name)
    except Refused as error:
        raise Denied("the proxy names a user with an invalid name", anonymous=False, hint=error.hint) from error
    if name == ROOT:
        raise Denied("root logs in with its password, not through the proxy", anonymous=False)
    return name


def _problems(settings: ServerSettings) -> list[str]:
    remote = settings.remote_user
    if not remote.header:
        return ["remote_user.groups_header needs remote_user.header"] if remote.groups_header else []
    problems: list[str] = []
    names = {"header": remote.header, "secret_header": remote.secret_header, "groups_header": remote.groups_header}
    problems.extend(
        f"remote_user.{option}: {name!r} cannot be used; write the name of a header in letters, digits and -"
        for option, name in names.items()
        if name and (not _NAME.match(name) or name.lower() in _TAKEN)
    )
    given = [name.lower() for name in names.values() if name]
    if len(set(given)) < len(given):
        problems.append("remote_user: the headers must have different names")
    if len(remote.secret) < _SECRET_LENGTH:
        problems.append(
            f"remote_user.secret: it needs at least {_SECRET_LENGTH} characters; the proxy sends it in {remote.secret_header}"
        )
    if not remote.secret_header:
        problems.append("remote_user.secret_header: it is empty")
    if not settings.trusted_proxies:
        problems.append("trusted_proxies: it is empty; add the address of the proxy that sends remote_user.header")
    return problems
