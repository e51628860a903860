"""One request as handlers see it: the principal, the index, and all that a handler needs.

Handlers use an `Ask` and the services of the engine, and aiohttp's request for headers and bodies only. The server fills in the
`Ask`; this module knows neither the server nor the table of routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Final, TypeVar

from msgspec import Struct
from yarl import URL

from pkgindex_core.engine import Engine
from pkgindex_core.errors import Denied, Missing
from pkgindex_core.names import IndexName, ProjectName, index_name_or_none, normalized_or_none
from pkgindex_core.protocols import Credentials, Principal
from pkgindex_core.protocols.measuring import Figures
from pkgindex_core.services.administering.identity import NOBODY
from pkgindex_http.listening.siblings import Siblings
from pkgindex_http.oidc.minting import Minting
from pkgindex_http.readiness import Report
from pkgindex_http.settings import ServerSettings
from pkgindex_http.templates import Templates
from pkgindex_http.wire import web
from pkgindex_http.wire.attempts import LoginAttempts
from pkgindex_http.wire.descriptions import Descriptions
from pkgindex_http.wire.handing_over import Handover
from pkgindex_http.wire.origin import OriginReader
from pkgindex_http.wire.read_log import ReadLog
from pkgindex_http.wire.remote_user import RemoteUsers
from pkgindex_http.wire.served_files import ServedFiles

Outcome = TypeVar("Outcome")

SIDECAR: Final = ".metadata"
"""The suffix of a file's URL that leads to its sidecar (PEP 658)."""


class Ask(Struct, kw_only=True):
    """One request, with what its handler needs."""

    engine: Engine
    settings: ServerSettings
    default_index: IndexName
    origin: OriginReader
    remote_users: RemoteUsers
    attempts: LoginAttempts
    templates: Templates
    descriptions: Descriptions
    served_files: ServedFiles
    figures: Callable[[Container[IndexName]], Sequence[Figures]]
    """Returns the counts of this process that the server has, those about indexes only of the named ones."""
    minting: Minting
    read_log: ReadLog
    siblings: Siblings | None
    """The other processes of this server; None if there are none."""
    handover: Handover
    stopping: Callable[[], bool]
    """Whether the server has begun to stop."""
    readiness: Callable[[], Awaitable[Report]]
    """Returns which parts of the server work."""
    judge: Callable[[web.BaseRequest, str, str], Awaitable[None]]
    """Checks whether a request for another target and method is permitted, and raises the error if not. An empty method means GET,
    or the target's own method if it has no GET."""
    request: web.BaseRequest
    query_string: str
    """The query of the URL of the request, or of the URL that is judged."""
    values: Mapping[str, str]
    """The values of the route's placeholders, by name."""
    segments: tuple[str, ...]
    principal: Principal = NOBODY
    session: str = ""
    """The text of the log-in token in the cookie by which the principal was identified; empty otherwise."""
    known_index: IndexName | None = None
    objection: Denied | None = None
    """The error of wrong credentials, on a route that also answers with wrong ones (`Glanced`)."""

    def insist(self) -> None:
        """Raise the error of wrong credentials, if there is one."""
        if self.objection is not None:
            raise self.objection

    @property
    def url(self) -> str:
        """The URL of the server's root as the client reaches it, without a slash at the end."""
        return self.origin.url(self.request)

    async def judged(self, credentials: Credentials | None, judge: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """The outcome of `judge`, which raises `Denied` for wrong credentials. Raises `TooManyAttempts` if too many of this client were wrong."""
        client = self.origin.client(self.request)
        return await self.attempts.judged(client, credentials, self.engine.identity.recalled, judge)

    @property
    def vouched(self) -> Principal | None:
        """The user that a trusted proxy names."""
        return self.remote_users.principal(self.request)

    @property
    def accept(self) -> str:
        return self.request.headers.get("Accept", "")

    @property
    def content_type(self) -> str:
        """The content type of the body in lower case, without parameters."""
        return self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def index(self) -> IndexName:
        """The index of the URL, or the default index. Raises `Missing` for a name that no index can have."""
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
        """The project of the URL, normalised. Raises `Missing` for a name that no project can have."""
        name = normalized_or_none(self.values["project"])
        if name is None:
            raise Missing("project", self.values["project"][:160])
        return name

    @property
    def pinned(self) -> str:
        """The directory of a file's URL, as `formats.fragments.directory` writes it. It fixes the bytes of the file."""
        if "b" in self.values:
            return f"+f/{self.values['a']}/{self.values['b']}"
        return f"+e/{self.values['a']}"

    @property
    def root(self) -> str:
        """The relative URL from the requested page to the root of the server."""
        return "../" * (len(self.segments) - 1)

    @property
    def query_suffix(self) -> str:
        """The query in the client's spelling, with its question mark; empty without a query."""
        query = self.request.rel_url.raw_query_string
        return f"?{query}" if query else ""

    def query(self, name: str) -> str | None:
        """A query parameter, or None."""
        if not self.query_string:
            return None
        return URL.build(path="/", query_string=self.query_string, encoded=True).query.get(name)


def wants_document(ask: Ask) -> bool:
    """Whether a program wants devpi's document, where an installer or a person gets a page."""
    return "application/json" in ask.accept.lower()
