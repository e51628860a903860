"""One request as the handlers see it: who asks, for which index, and everything they need to answer.

Handlers know this and the engine's services; they do not look at aiohttp's request except for bodies. The server and the
table of routes stand above this module: the server fills an `Ask` in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from yarl import URL

from pkgindex_core.errors import Denied, Missing
from pkgindex_core.names import IndexName, ProjectName, index_name_or_none, normalized_or_none
from pkgindex_core.protocols import Principal
from pkgindex_core.services.administering.identity import NOBODY

if TYPE_CHECKING:
    from aiohttp import web

    from pkgindex_core.engine import Engine
    from pkgindex_http.origin import Origin
    from pkgindex_http.remote_user import RemoteUsers


SIDECAR: Final = ".metadata"
"""Behind a file's name in a URL: its core metadata (PEP 658)."""


class Ask(Struct, kw_only=True):
    """One request on its way to an answer."""

    engine: Engine
    default_index: IndexName
    origin: Origin
    remote_users: RemoteUsers
    readiness: Callable[[], Awaitable[Mapping[str, bool]]]
    """Says of each part of the server whether it works, and whether the server is `stopping`."""
    judge: Callable[[web.BaseRequest, str, str], Awaitable[None]]
    """Raises what a request for another target and method is refused with before its handler is called. Without a method (`""`) the
    target is judged as a page, or else by what can be done to it."""
    request: web.BaseRequest
    query_string: str
    """The query of the URL that is asked for, or asked about."""
    values: Mapping[str, str]
    """What stands for the placeholders of the route."""
    segments: tuple[str, ...]
    principal: Principal = NOBODY
    known_index: IndexName | None = None
    objection: Denied | None = None
    """What was wrong with the credentials, where the route looks at them and does not insist."""

    def insist(self) -> None:
        """Refuse credentials that are wrong after all."""
        if self.objection is not None:
            raise self.objection

    @property
    def url(self) -> str:
        """The URL of the server's root as the client reaches it, without a slash at the end."""
        return self.origin.url(self.request)

    @property
    def vouched(self) -> Principal | None:
        """The user whom a trusted proxy names."""
        return self.remote_users.principal(self.request)

    @property
    def accept(self) -> str:
        return self.request.headers.get("Accept", "")

    @property
    def content_type(self) -> str:
        """What the body is, without parameters."""
        return self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def index(self) -> IndexName:
        """The index of the URL, or the default one. A spelling that no index can have is `Missing` like any other."""
        if self.known_index is not None:
            return self.known_index
        if "index" not in self.values:
            return self.default_index
        name = index_name_or_none(self.values["user"], self.values["index"])
        if name is None:
            raise Missing("index", f"{self.values['user']}/{self.values['index']}"[:160])
        self.known_index = name
        return name

    @property
    def project(self) -> ProjectName:
        """The project of the URL, normalised."""
        name = normalized_or_none(self.values["project"])
        if name is None:
            raise Missing("project", self.values["project"][:160])
        return name

    @property
    def pinned(self) -> str:
        """The part of a file's path that pins its bytes, as `formats.fragments.directory` writes it."""
        if "b" in self.values:
            return f"+f/{self.values['a']}/{self.values['b']}"
        return f"+e/{self.values['a']}"

    @property
    def root(self) -> str:
        """The relative URL from this page to the root of the server."""
        return "../" * (len(self.segments) - 1)

    @property
    def query_suffix(self) -> str:
        """The query as the client wrote it, with its question mark; empty without one."""
        query = self.request.rel_url.raw_query_string
        return f"?{query}" if query else ""

    def query(self, name: str) -> str | None:
        """A query parameter, or None."""
        if not self.query_string:
            return None
        return URL.build(path="/", query_string=self.query_string, encoded=True).query.get(name)
