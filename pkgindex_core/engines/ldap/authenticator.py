"""The authenticator that asks an LDAP directory, and what it costs to ask.

Off unless `[plugins.ldap]` exists. It is asked after the users of the index, so a user that has a password here is never looked
for there; `root` and names that no user can have are not looked for at all. The groups that the directory names stand
in access lists as `:group`.

A directory that does not answer is `Unavailable`, whoever asks: "wrong password" would be a lie, and "not mine" would let a
weaker authenticator decide. For a few seconds after that nobody waits for it again. At most `AT_ONCE` of the engine's threads
talk to it, equal questions are asked once, and a queue does not grow without end.
"""

from __future__ import annotations

import logging
from typing import Final, Literal, Protocol

from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.ldap.answers import Accepted, Answer, Silent
from pkgindex_core.engines.ldap.settings import read_settings
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.names import parse_user_name
from pkgindex_core.protocols import Authenticator, Credentials, Principal
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker

logger = logging.getLogger("pkgindex.ldap")

AT_ONCE: Final = 3
WAITING_LIMIT: Final = 200
PAUSE_SECONDS: Final = 5
"""How long a directory that did not answer is left alone."""
_SECRET_LIMIT: Final = 4096


class Directory(Protocol):
    """What is asked, in a thread."""

    def verify(self, username: str, password: str) -> Answer:
        """Judge a password, or raise `Silent`."""
        ...


def make_ldap(context: Context) -> Authenticator | None:
    """The authenticator that `[plugins.ldap]` describes; None when there is no such table."""
    if not context.settings:
        return None
    settings = read_settings(context.settings)
    try:
        from pkgindex_core.engines.ldap.directory import LdapDirectory
    except ImportError as error:
        raise Refused(
            f"[plugins.ldap] needs a package that is not installed: {error.name}",
            hint="install the server with its extra `ldap`: pip install 'pkgindex[ldap]'",
        ) from error
    return LdapAuthenticator(
        LdapDirectory(settings),
        context,
        rejects=not settings.reject_as_unknown,
        # A question is at most three connections (search, log-in, groups) to every server.
        patience=float(settings.timeout * (1 + len(settings.servers))),
    )


class LdapAuthenticator:
    """Asks the directory in the engine's threads."""

    def __init__(self, directory: Directory, context: Context, *, rejects: bool, patience: float) -> None:
        self._directory = directory
        self._workers = context.workers
        self._clock = context.clock
        self._rejects = rejects
        self._patience = patience
        waiting = Tasks(WAITING_LIMIT, full=lambda: _unavailable("has too many questions waiting"))
        self._questions: SingleFlight[Answer] = SingleFlight(waiting, turns=AT_ONCE)
        self._silent_until = 0.0

    async def authenticate(self, credentials: Credentials) -> Principal | Literal["refused"] | None:
        """Judge what only the directory can judge."""
        if not _could_be_there(credentials):
            return None
        match await self._answer(credentials):
            case Accepted(groups):
                return Principal(name=credentials.username, groups=groups)
            case "rejected" if self._rejects:
                return "refused"
            case _:
                return None

    async def _answer(self, credentials: Credentials) -> Answer:
        if self._clock.monotonic() < self._silent_until:
            raise _unavailable("did not answer a moment ago")
        key = sha256_of(f"{credentials.username}\0{credentials.secret}".encode())
        # The question goes on when nobody waits any more: it holds its turn until its thread is free.
        answer = await self._questions.join(key, lambda: self._ask(credentials)).wait(self._patience)
        if answer is None:
            self._silent_until = self._clock.monotonic() + PAUSE_SECONDS
            raise _unavailable("takes too long")
        return answer

    async def _ask(self, credentials: Credentials) -> Answer:
        if self._clock.monotonic() < self._silent_until:  # since it waits for its turn
            raise _unavailable("did not answer a moment ago")
        try:
            return await in_worker(self._workers, self._directory.verify, credentials.username, credentials.secret)
        except Silent as error:
            self._silent_until = self._clock.monotonic() + PAUSE_SECONDS
            logger.warning("the LDAP directory does not answer: %s", error)
            # That line says it all; a cause would be logged once more, with its traceback.
            raise _unavailable("does not answer") from None


def _could_be_there(credentials: Credentials) -> bool:
    if credentials.username in {ROOT, "__token__", ""} or len(credentials.secret) > _SECRET_LIMIT:
        return False
    try:
        parse_user_name(credentials.username)
    except Refused:
        return False
    return True


def _unavailable(why: str) -> Unavailable:
    return Unavailable(
        f"the directory that knows the users {why}", retry_after=PAUSE_SECONDS, hint="try again in a moment"
    )
