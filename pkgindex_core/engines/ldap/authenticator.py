"""The authenticator that asks an LDAP directory.

Off unless `[plugins.ldap]` exists. It is asked after the users of the index, so a user with a password here is never looked
up in the directory; neither are `root` and invalid user names. Access lists name the directory's groups as `:group`.

A directory that does not answer raises `Unavailable`: "wrong password" would be false, and "not mine" would let a weaker
authenticator decide. For some seconds after that it is not asked again. At most `AT_ONCE` of the engine's threads talk to it,
equal requests share one, and the queue is bounded.
"""

from __future__ import annotations

import logging
from typing import Final, Literal, Protocol

from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.ldap.answers import Accepted, Answer, Silent
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.names import parse_user_name
from pkgindex_core.protocols import Credentials, Principal
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker

logger = logging.getLogger("pkgindex.ldap")

AT_ONCE: Final = 3
WAITING_LIMIT: Final = 200
PAUSE_SECONDS: Final = 5
"""Seconds for which a directory that did not answer is not asked again."""
_SECRET_LIMIT: Final = 4096


class PasswordDirectory(Protocol):
    """A directory that checks passwords. Called in a thread."""

    def verify(self, username: str, password: str) -> Answer:
        """Check a password, or raise `Silent`."""
        ...


class LdapAuthenticator:
    """Asks a directory in the engine's threads."""

    def __init__(self, directory: PasswordDirectory, context: Context, *, rejects: bool, patience: float) -> None:
        self._directory = directory
        self._workers = context.workers
        self._clock = context.clock
        self._rejects = rejects
        self._patience = patience
        waiting = Tasks(WAITING_LIMIT, full=lambda: _unavailable("has too many questions waiting"))
        self._questions: SingleFlight[Answer] = SingleFlight(waiting, turns=AT_ONCE)
        self._silent_until = 0.0

    async def authenticate(self, credentials: Credentials) -> Principal | Literal["refused"] | None:
        """Check credentials that only the directory can check."""
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
        # The request goes on when all waiters have left: it keeps its turn until its thread is free.
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
            # Without a cause, which would be logged again with its traceback.
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
