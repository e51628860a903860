"""The authenticator that asks an LDAP directory, and what it costs to ask.

Off unless `[plugins.ldap]` exists. It is asked after the users of the index, so a user that has a password here is never looked
for there; `root` and names that no user can have are not looked for at all. The groups that the directory names stand
in access lists as `:group`.

A directory that does not answer is `Unavailable`, whoever asks: "wrong password" would be a lie, and "not mine" would let a
weaker authenticator decide. For a few seconds after that nobody waits for it again. At most `AT_ONCE` of the engine's threads
talk to it, equal questions are asked once, and a queue does not grow without end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Literal, Protocol

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.ldap.answers import Accepted, Answer, Silent
from pkgindex_core.engines.ldap.settings import read_settings
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.names import parse_user_name
from pkgindex_core.protocols import Authenticator, Credentials, Principal
from pkgindex_core.rules.permissions import ROOT

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
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._asking: dict[Sha256, asyncio.Task[Answer]] = {}
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
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= WAITING_LIMIT:
                raise _unavailable("has too many questions waiting")
            task = asyncio.get_running_loop().create_task(self._ask(credentials))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        try:
            # The question goes on when nobody waits any more: it holds its turn until its thread is free.
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(task)
        except TimeoutError as error:
            self._silent_until = self._clock.monotonic() + PAUSE_SECONDS
            raise _unavailable("takes too long") from error

    async def _ask(self, credentials: Credentials) -> Answer:
        async with self._turns:
            if self._clock.monotonic() < self._silent_until:
                raise _unavailable("did not answer a moment ago")
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._workers, self._directory.verify, credentials.username, credentials.secret
                )
            except Silent as error:
                self._silent_until = self._clock.monotonic() + PAUSE_SECONDS
                logger.warning("the LDAP directory does not answer: %s", error)
                # That line says it all; a cause would be logged once more, with its traceback.
                raise _unavailable("does not answer") from None

    def _forget(self, key: Sha256, done: asyncio.Task[Answer]) -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            done.exception()  # seen, even if everybody who waited has gone


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
