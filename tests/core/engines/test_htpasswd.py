"""The htpasswd file: every kind of hash, edits that count at once, and what a wrong password costs."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from passlib import hash as kinds

from pkgindex_core.engines.argon2 import Argon2Hashing
from pkgindex_core.engines.htpasswd import make_htpasswd
from pkgindex_core.engines.htpasswd.authenticator import HtpasswdAuthenticator
from pkgindex_core.engines.htpasswd.hashes import HtpasswdComparing, seconds_of
from pkgindex_core.engines.htpasswd.password_file import LOOK_SECONDS
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Credentials, PasswordComparing, Principal
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.tools.passwords import PasswordPool

HASHES = {
    "bcrypt-2a": kinds.bcrypt.using(rounds=4, ident="2a").hash("secret"),
    "bcrypt-2b": kinds.bcrypt.using(rounds=4, ident="2b").hash("secret"),
    "bcrypt-2y": kinds.bcrypt.using(rounds=4, ident="2y").hash("secret"),
    "apr1": kinds.apr_md5_crypt.hash("secret"),
    "md5": kinds.md5_crypt.hash("secret"),
    "sha256": kinds.sha256_crypt.using(rounds=1000).hash("secret"),
    "sha256-5000": kinds.sha256_crypt.using(rounds=5000).hash("secret"),
    "sha512": kinds.sha512_crypt.using(rounds=1000).hash("secret"),
    "sha1": kinds.sha1_crypt.using(rounds=1000).hash("secret"),
    "bsdi": kinds.bsdi_crypt.using(rounds=101).hash("secret"),
    "des": kinds.des_crypt.hash("secret"),
    "SHA": kinds.ldap_sha1.hash("secret"),
}
FLAGS = {"-B": "$2y$", "-m": "$apr1$", "-2": "$5$", "-5": "$6$", "-s": "{SHA}", "-d": ""}


class CountingPool(PasswordPool):
    """Tells which hashes were compared."""

    def __init__(self, workers: ThreadPoolExecutor) -> None:
        super().__init__(Argon2Hashing(), workers)
        self.compared: list[str] = []

    async def verify(self, password_hash: str, password: str, *, comparing: PasswordComparing | None = None) -> bool:
        self.compared.append(password_hash)
        return await super().verify(password_hash, password, comparing=comparing)


class Desk:
    """An authenticator over a file that a test writes."""

    def __init__(self, context: Context, pool: CountingPool, clock: ManualClock, path: Path) -> None:
        self._context, self.pool, self._clock, self.path = context, pool, clock, path
        self.opened: HtpasswdAuthenticator | None = None

    def write(self, **hashes: str) -> None:
        draft = self.path.with_name("draft")
        draft.write_text("".join(f"{name}:{text}\n" for name, text in hashes.items()))
        draft.replace(self.path)
        self._clock.advance(LOOK_SECONDS)

    async def ask(self, name: str, secret: str = "secret") -> str:
        if self.opened is None:
            made = make_htpasswd(self._context)
            assert isinstance(made, HtpasswdAuthenticator)
            self.opened = made
        answer = await self.opened.authenticate(Credentials(username=name, secret=secret))
        return f"is {answer.name}" if isinstance(answer, Principal) else answer or "unknown"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = ManualClock()
    with ThreadPoolExecutor(2) as workers:
        pool = CountingPool(workers)
        path = tmp_path / ".htpasswd"
        settings = {"path": str(path)}
        context = Context(data=tmp_path, clock=clock, workers=workers, passwords=pool, settings=settings)
        yield Desk(context, pool, clock, path)


@pytest.mark.parametrize("kind", HASHES)
async def test_every_kind_of_hash_is_compared(desk: Desk, kind: str) -> None:
    desk.write(alice=HASHES[kind])
    assert await desk.ask("alice") == "is alice"
    assert await desk.ask("alice", "Secret") == "refused"
    assert await desk.ask("alice", "") == "refused"
    assert await desk.ask("alice", "se\0cret") == "refused"
    assert await desk.ask("bob") == "unknown"


@pytest.mark.skipif(shutil.which("htpasswd") is None, reason="the command htpasswd is not installed")
@pytest.mark.parametrize("flag", FLAGS)
async def test_the_files_of_the_command_htpasswd_are_read(desk: Desk, flag: str) -> None:
    command = ["htpasswd", "-cb", flag, desk.path, "alice", "secret"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    assert desk.path.read_text().startswith(f"alice:{FLAGS[flag]}")
    assert await desk.ask("alice") == "is alice"
    assert await desk.ask("alice", "wrong") == "refused"


async def test_bcrypt_takes_72_bytes_of_a_password(desk: Desk) -> None:
    """As the command htpasswd does, and with any version of the library."""
    desk.write(alice=kinds.bcrypt.using(rounds=4).hash("x" * 72))
    assert await desk.ask("alice", "x" * 100) == "is alice"
    assert await desk.ask("alice", "x" * 71) == "refused"


@pytest.mark.parametrize(
    "text", ["secret", "ab", "", "{SHA}", "{SHA}c2hvcnQ=", "$2y$05$short", "$6$", "$apr1$", "!", "$argon2id$v=19"]
)
async def test_what_is_no_hash_lets_nobody_in(desk: Desk, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Plain text is no hash. pypiserver answers 500 to some of it."""
    desk.write(alice=text, bob=HASHES["SHA"])
    assert await desk.ask("alice", text) == "unknown"
    assert await desk.ask("bob") == "is bob"
    assert "line 1: the user alice cannot log in" in caplog.text
    assert not text or f"{text}\n" not in caplog.text


@pytest.mark.parametrize("name", ["root", "__token__", "a/b", "simple", "ä"])
async def test_names_of_the_server_are_left_out(desk: Desk, name: str) -> None:
    desk.write(**{name: HASHES["SHA"], "bob": HASHES["SHA"]})
    assert await desk.ask(name) == "unknown"
    assert await desk.ask("bob") == "is bob"


async def test_comments_blank_lines_and_further_fields_are_passed_over(desk: Desk) -> None:
    desk.path.write_text(f"# ours\n\nalice:{HASHES['SHA']}:Alice Liddell\nalice:{HASHES['apr1']}\nnonsense\n")
    assert await desk.ask("alice") == "is alice"
    assert await desk.ask("nonsense") == "unknown"


async def test_a_verdict_costs_one_comparison_while_its_entry_stands(desk: Desk) -> None:
    desk.write(alice=HASHES["bcrypt-2y"])
    for _ in range(3):
        assert await desk.ask("alice") == "is alice"
    desk.write(alice=HASHES["bcrypt-2y"], bob=HASHES["SHA"])  # another's entry
    assert await desk.ask("alice") == "is alice"
    assert desk.pool.compared == [HASHES["bcrypt-2y"]]


async def test_an_edit_ends_verdicts_at_once(desk: Desk) -> None:
    desk.write(alice=HASHES["SHA"])
    assert await desk.ask("alice") == "is alice"
    assert desk.opened is not None
    before = await desk.opened.state()
    desk.write(alice=kinds.ldap_sha1.hash("another"))
    assert await desk.opened.state() != before
    assert await desk.ask("alice") == "refused"
    assert await desk.ask("alice", "another") == "is alice"
    desk.write(bob=HASHES["SHA"])
    assert await desk.ask("alice", "another") == "unknown"
    assert await desk.ask("bob") == "is bob"


async def test_the_file_is_not_looked_at_for_every_request(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write(alice=HASHES["SHA"])
    await desk.ask("alice")
    looks: list[Path] = []
    look: Callable[..., object] = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **options: (looks.append(path), look(path, **options))[1])
    for _ in range(100):
        await desk.ask("alice")
    assert not looks


@pytest.mark.parametrize("cheap", ["SHA", "apr1", "des"])
async def test_every_failure_costs_what_the_costliest_entry_costs(desk: Desk, cheap: str) -> None:
    desk.write(alice=HASHES[cheap], bob=HASHES["bcrypt-2y"])
    for name in ("alice", "bob", "carl"):
        desk.pool.compared.clear()
        await desk.ask(name, "wrong")
        assert desk.pool.compared[-1] == HASHES["bcrypt-2y"], name
    desk.pool.compared.clear()
    await desk.ask("alice")
    assert desk.pool.compared == [HASHES[cheap]]


def test_more_rounds_cost_more() -> None:
    for fewer, more in (
        (kinds.bcrypt.using(rounds=4), kinds.bcrypt.using(rounds=5)),
        (kinds.sha512_crypt.using(rounds=1000), kinds.sha512_crypt.using(rounds=5000)),
        (kinds.bsdi_crypt.using(rounds=101), kinds.bsdi_crypt.using(rounds=1001)),
    ):
        assert (seconds_of(fewer.hash("x")) or 0) < (seconds_of(more.hash("x")) or 0)


def test_a_damaged_hash_matches_nothing() -> None:
    compare = HtpasswdComparing().verify
    assert not compare("$2y$05$damaged", "secret")
    assert not compare("", "")
    assert not compare("{SHA}" + hashlib.sha1(b"secret", usedforsecurity=False).hexdigest(), "secret")


async def test_a_file_that_cannot_be_read_makes_no_user_unknown(desk: Desk) -> None:
    desk.write(alice=HASHES["SHA"])
    assert await desk.ask("alice") == "is alice"
    kept = desk.path.rename(desk.path.with_name("kept"))
    desk._clock.advance(LOOK_SECONDS)
    with pytest.raises(Unavailable):
        await desk.ask("alice")
    kept.rename(desk.path)
    desk._clock.advance(LOOK_SECONDS)
    assert await desk.ask("alice") == "is alice"


async def test_a_server_does_not_start_without_its_file(desk: Desk) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        await desk.ask("alice")


def test_settings_are_checked(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as workers:
        clock = ManualClock()
        assert make_htpasswd(Context(data=tmp_path, clock=clock, workers=workers)) is None
        pool = CountingPool(workers)
        for table in ({}, {"paths": "x"}, {"path": 1}):
            context = Context(data=tmp_path, clock=clock, workers=workers, passwords=pool, settings=table)
            with pytest.raises(Refused, match=r"plugins\.htpasswd"):
                make_htpasswd(context)
