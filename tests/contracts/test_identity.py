"""Contract suites of the engines that check passwords: the index's own users, htpasswd files, LDAP, argon2 and its bound. Clocks too."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import cast

import pytest
from msgspec.structs import replace
from passlib.hash import apr_md5_crypt, ldap_sha1

from pkgindex_core.changes import PutUser
from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.engines.argon2 import Argon2Hashing
from pkgindex_core.engines.htpasswd import make_htpasswd
from pkgindex_core.engines.htpasswd.hashes import HtpasswdComparing
from pkgindex_core.engines.htpasswd.password_file import LOOK_SECONDS
from pkgindex_core.engines.ldap import make_ldap
from pkgindex_core.engines.ldap.answers import Accepted, Answer, Silent
from pkgindex_core.engines.ldap.authenticator import LdapAuthenticator
from pkgindex_core.engines.sqlite.index import open_sqlite
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import User
from pkgindex_core.protocols import (
    Authenticator,
    Credentials,
    IndexStore,
    PasswordComparing,
    PasswordHashing,
    Passwords,
    Principal,
)
from pkgindex_core.services.administering.user_passwords import UserPasswords
from pkgindex_core.testing.authenticators import AuthenticatorContract, StatefulAtOnceContract
from pkgindex_core.testing.clocks import ClockContract
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.passwords import (
    PASSWORD,
    PasswordComparingContract,
    PasswordHashingContract,
    PasswordsContract,
)
from pkgindex_core.tools.passwords import PasswordPool
from tests.directory import Directory, directory

__all__ = ["directory"]


class TestArgon2(PasswordHashingContract):
    def make(self) -> PasswordHashing:
        return Argon2Hashing()


class TestHtpasswdHashes(PasswordComparingContract):
    @pytest.fixture(autouse=True, params=(apr_md5_crypt, ldap_sha1), ids=("apr1", "sha"))
    def _kind(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def make(self) -> PasswordComparing:
        return HtpasswdComparing()

    def hash_of(self, password: str) -> str:
        return str(self.kind.hash(password))


class TestPasswordPool(PasswordsContract):
    def open_passwords(self, hashing: PasswordHashing, workers: Executor) -> Passwords:
        return PasswordPool(hashing, workers)


class TestUserPasswords(AuthenticatorContract):
    right = Credentials(username="ann", secret=PASSWORD)
    principal = Principal(name="ann")

    async def begin(self, context: Context) -> None:
        assert context.index_store is not None
        user = User(name="ann", password_hash=await self.passwords.hash(PASSWORD))
        await context.index_store.apply([PutUser(user)], who="[test]")

    async def open_authenticator(self, context: Context) -> Authenticator:
        return UserPasswords(context)


class TestUserPasswordsInSqlite(TestUserPasswords):
    async def open_store(self, context: Context) -> IndexStore:
        return await open_sqlite("sqlite://", context)


class ScriptedDirectory:
    """What an LDAP directory would answer."""

    def __init__(self) -> None:
        self.away = False

    def verify(self, username: str, password: str) -> Answer:
        if self.away:
            raise Silent("scripted")
        if username != "anna":
            return "unknown"
        return Accepted(("developers",)) if password == PASSWORD else "rejected"


class TestLdap(AuthenticatorContract):
    right = Credentials(username="anna", secret=PASSWORD)
    principal = Principal(name="anna", groups=("developers",))
    can_be_away = True

    async def open_authenticator(self, context: Context) -> Authenticator:
        self.directory = ScriptedDirectory()
        return LdapAuthenticator(self.directory, context, rejects=True, patience=30)

    async def go_away(self) -> None:
        self.directory.away = True


class TestLdapOfARealDirectory(AuthenticatorContract):
    right = Credentials(username="anna", secret="anna's word")
    principal = Principal(name="anna", groups=("developers", "release managers"))
    refuses = False

    @pytest.fixture(autouse=True)
    def _directory(self, directory: Directory) -> None:
        self.settings = directory.settings()

    async def open_authenticator(self, context: Context) -> Authenticator:
        made = make_ldap(replace(context, settings=self.settings))
        assert made is not None
        return made


class TestHtpasswd(StatefulAtOnceContract):
    right = Credentials(username="ann", secret=PASSWORD)
    principal = Principal(name="ann")
    can_be_away = True

    async def open_authenticator(self, context: Context) -> Authenticator:
        self.file = context.data / ".htpasswd"
        self.file.write_text(f"ann:{apr_md5_crypt.hash(PASSWORD)}\nben:{ldap_sha1.hash(PASSWORD)}\n")
        made = make_htpasswd(replace(context, settings={"path": str(self.file)}))
        assert made is not None
        return made

    async def go_away(self) -> None:
        self.file.unlink()

    async def forget(self) -> None:
        self.file.write_text(f"carl:{apr_md5_crypt.hash(PASSWORD)}\n")
        cast("ManualClock", self.context.clock).advance(LOOK_SECONDS)


class TestHtpasswdOfACheapEntry(TestHtpasswd):
    """Beside a costlier one."""

    right = Credentials(username="ben", secret=PASSWORD)
    principal = Principal(name="ben")

    async def test_an_unknown_user_costs_what_a_wrong_secret_costs(self) -> None:
        """The cheap comparison and the costly one, against the costly one."""
        for credentials, comparisons in ((self.wrong, 2), (Credentials(username="carl", secret="x"), 1)):
            before = self.passwords.compared
            await self.outcome(credentials)
            assert self.passwords.compared - before == comparisons


class TestSystemClock(ClockContract):
    def make(self) -> Clock:
        return SystemClock()


class TestManualClock(ClockContract):
    ticks = False

    def make(self) -> Clock:
        return ManualClock()
