"""Two servers over one engine, one of which repeats answers, and everything around them that changes.

The clock stands still until it is moved, so both servers are asked at the same moment.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace
from passlib.hash import ldap_sha1

from pkgindex_core.changes import (
    Change,
    DropFile,
    DropIndex,
    DropProject,
    DropToken,
    DropUser,
    PutFile,
    PutIndex,
    PutProject,
    PutToken,
    PutUser,
    YankFile,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.fragments import directory
from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.models import File, IndexConfig, PageHead, Token, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Authenticator, Build, Credentials, PageFilter, Principal, Ruling
from pkgindex_core.testing.configs import changed_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tokens import TokenText, new_token
from pkgindex_http import plugin
from pkgindex_http.opening import opened_engine
from pkgindex_http.server import Server
from pkgindex_http.settings import RemoteUser, ServerSettings
from pkgindex_mirror.testing import ScriptedUpstream
from tests.http.conftest import hash_of

DEV, PRIVATE, MIRROR, BOTH, SHELF, TIMED = (
    IndexName(name) for name in ("root/dev", "anna/private", "root/pypi", "root/both", "root/shelf", "root/timed")
)
PROJECTS = [ProjectName(name) for name in ("demo", "other", "third")]
PROXY_SECRET = "a secret of the proxy"
_VERSIONS = ("1.0", "2.0", "3.0")


def _file(project: str, version: str) -> File:
    built = build_wheel(project, version)
    sidecar = sha256_of(built.metadata)
    return File(
        filename=built.filename,
        version=version,
        digests={"sha256": built.sha256},
        size=built.size,
        metadata_sha256=sidecar,
    )


FILES: Sequence[str] = [
    f"/{index}/{directory(file)}/{file.filename}{suffix}"
    for index in (DEV, PRIVATE, MIRROR, TIMED)
    for file in [_file(project, version) for project in PROJECTS[:2] for version in _VERSIONS[:2]]
    for suffix in ("", ".metadata")
]
"""Paths of files, of which the mirror has some and `TIMED` has none."""
_MINUTE = 60_000_000
_START = Timestamp(1_700_000_000_000_000)


class HidesByTheMinute:
    """A page filter whose decisions change with the time."""

    fingerprint = "by the minute"
    by_release = False

    def cut_off(self, tree: Any, start: IndexName, moment: Timestamp) -> Timestamp:
        return Timestamp(moment - moment % 60_000_000)

    def applies(self, tree: Any, start: IndexName) -> bool:
        return start == TIMED

    def withheld(self, tree: Any, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return Ruling(reason="it is not its minute") if (build.moment // _MINUTE + len(file.filename)) % 2 else None


class Elsewhere:
    """An authenticator whose verdicts change unseen, like those of a directory."""

    def __init__(self) -> None:
        self.groups: dict[str, tuple[str, ...]] = {"carl": ("team",)}

    async def authenticate(self, credentials: Credentials) -> Principal | Literal["refused"] | None:
        groups = self.groups.get(credentials.username)
        if groups is None:
            return None
        return Principal(name=credentials.username, groups=groups) if credentials.secret == "secret" else "refused"


class Fakes:
    """The plugin with both."""

    def __init__(self) -> None:
        self.elsewhere = Elsewhere()

    @hookimpl
    def pkgindex_page_filters(self) -> list[Provider[PageFilter]]:
        return [Provider(name="minutes", summary="a fake", make=lambda _: HidesByTheMinute())]

    @hookimpl
    def pkgindex_authenticators(self) -> list[Provider[Authenticator | None]]:
        def make(context: Context) -> Authenticator:
            return self.elsewhere

        return [Provider(name="elsewhere", summary="a fake", make=make)]


class World:
    """The servers, and ways to change what they show."""

    def __init__(
        self,
        engine: Engine,
        servers: tuple[Server, Server],
        clock: ManualClock,
        upstream: ScriptedUpstream,
        place: Path,
    ) -> None:
        self.engine = engine
        self.repeating, self.plain = servers
        self.clock = clock
        self.upstream = upstream
        self.shelf = place / "shelf"
        self.passwords = place / ".htpasswd"
        self.tokens: list[TokenText] = []
        self.groups: dict[str, tuple[str, ...]] = {}

    @property
    def state(self) -> tuple[int, int]:
        """Another value when anything was committed or learned."""
        return self.engine.store.seen(), self.engine.currency.moment()

    @property
    def secrets(self) -> Sequence[str]:
        """Values of `Authorization`, right and wrong and formerly right."""
        pairs = ("anna:correct horse", "anna:another", "ben:secret", "carl:secret", "root:correct horse", "dora:x")
        basic = [f"Basic {base64.b64encode(pair.encode()).decode()}" for pair in pairs]
        return [*basic, *(f"Bearer {text}" for text in self.tokens[-4:]), "Basic rubbish"]

    async def fill(self) -> None:
        root = IndexConfig(name=DEV, acl_upload=("root",))
        await self.apply(
            PutUser(User(name="root", password_hash=hash_of("correct horse"))),
            PutUser(User(name="anna", password_hash=hash_of("correct horse"))),
            PutIndex(root),
            PutIndex(IndexConfig(name=PRIVATE, acl_read=("anna", "ben", ":team"))),
            PutIndex(IndexConfig(name=BOTH, bases=(DEV, PRIVATE, MIRROR))),
            PutIndex(IndexConfig(name=TIMED, bases=(DEV,))),
            PutIndex(IndexConfig(name=SHELF, type="directory", options={"roots": [str(self.shelf)]})),
        )
        for project in PROJECTS:
            for version in _VERSIONS:
                built = build_wheel(project, version)
                await self.engine.blobs.put(built.data)
                await self.engine.blobs.put(built.metadata)
            await self.apply(*(PutFile(index, project, _file(project, "1.0")) for index in (DEV, PRIVATE)))
            self.upstream.add(project, build_wheel(project, "1.0"))
            self.drop(project, "1.0")
        for _ in range(2):
            await self.new_token(random.Random(1))

    async def apply(self, *changes: Change) -> None:
        await self.engine.store.apply(list(changes), who="[test]")

    async def change(self, rng: random.Random) -> str:
        """Change something, and tell what."""
        what = rng.choice(_CHANGES)
        try:
            await getattr(self, what)(rng)
        except PkgIndexError:
            return f"{what}, in vain"
        return what

    async def put(self, rng: random.Random) -> None:
        project = rng.choice(PROJECTS)
        await self.apply(PutFile(rng.choice([DEV, PRIVATE]), project, _file(project, rng.choice(_VERSIONS))))

    async def delete(self, rng: random.Random) -> None:
        project = rng.choice(PROJECTS)
        await self.apply(DropFile(rng.choice([DEV, PRIVATE]), project, _file(project, rng.choice(_VERSIONS)).filename))

    async def drop_project(self, rng: random.Random) -> None:
        await self.apply(DropProject(rng.choice([DEV, PRIVATE]), rng.choice(PROJECTS)))

    async def yank(self, rng: random.Random) -> None:
        project = rng.choice(PROJECTS)
        await self.apply(YankFile(DEV, project, _file(project, "1.0").filename, rng.choice([False, "broken"])))

    async def mark(self, rng: random.Random) -> None:
        status = rng.choice(["active", "archived", "quarantined"])
        await self.apply(PutProject(rng.choice([DEV, PRIVATE]), rng.choice(PROJECTS), PageHead(status=status)))

    async def change_index(self, rng: random.Random) -> None:
        index = rng.choice([DEV, PRIVATE, BOTH, TIMED])
        config = (await self.engine.store.tree()).indexes[index]
        options: dict[str, Any] = rng.choice(
            [
                {"acl_read": rng.choice([("anna",), (":ANONYMOUS:",), (":team",), ("anna", "ben", ":team")])},
                {"bases": rng.choice([(), (DEV,), (DEV, MIRROR)]) if index in {BOTH, TIMED} else ()},
                {"title": str(rng.randrange(9))},
            ]
        )
        await self.apply(PutIndex(replace(config, **options)))

    async def make_index_again(self, rng: random.Random) -> None:
        name = rng.choice([DEV, PRIVATE])
        config = (await self.engine.store.tree()).indexes[name]
        await self.apply(DropIndex(name))
        if rng.random() < 0.5:
            self.clock.advance(0.1)
        await self.apply(PutIndex(config))
        for project in PROJECTS if rng.random() < 0.7 else ():
            await self.apply(PutFile(name, project, _file(project, rng.choice(_VERSIONS))))

    async def change_policies(self, rng: random.Random) -> None:
        """Files are held back for a while, as they were published at the start of the world or now."""
        index = rng.choice([DEV, PRIVATE, MIRROR])
        config = (await self.engine.store.tree()).indexes[index]
        lines = rng.choice(
            [[], ["cooldown 1h"], ["cooldown 10m", "cooldown off for other"], ["quarantine"], ["cooldown 2d"]]
        )
        await self.apply(PutIndex(changed_config(config, policies=lines)))
        project = rng.choice(PROJECTS)
        if index != MIRROR:
            file = replace(_file(project, rng.choice(_VERSIONS)), upload_time=self.clock.now())
            await self.apply(PutFile(index, project, file))

    async def change_password(self, rng: random.Random) -> None:
        hashed = hash_of(rng.choice(["correct horse", "another"]))
        await self.apply(PutUser(User(name="anna", password_hash=hashed)))

    async def drop_user(self, rng: random.Random) -> None:
        tree = await self.engine.store.tree()
        if rng.random() < 0.5 and PRIVATE in tree.indexes:
            return
        await self.apply(DropUser(rng.choice(["dora", "eve"])))

    async def add_user(self, rng: random.Random) -> None:
        await self.apply(PutUser(User(name=rng.choice(["dora", "eve"]), password_hash=hash_of("x"))))

    async def new_token(self, rng: random.Random) -> None:
        text = new_token()
        expires = Timestamp(self.clock.now() + rng.randrange(1, 200) * 1_000_000) if rng.random() < 0.7 else None
        limits = rng.choice([{}, {"indexes": (PRIVATE,)}, {"projects": ("demo",)}, {"actions": ("read",)}])
        kind = rng.choice(["api", "login"])
        await self.apply(
            PutToken(
                Token(id=text.id, user="anna", secret_sha256=text.secret_sha256, kind=kind, expires=expires, **limits)
            )
        )
        self.tokens.append(text)

    async def revoke_token(self, rng: random.Random) -> None:
        await self.apply(DropToken(rng.choice(self.tokens[-4:]).id))

    async def write_passwords(self, rng: random.Random) -> None:
        self.passwords.write_text(f"ben:{ldap_sha1.hash(rng.choice(['secret', 'another']))}\n")
        self.clock.advance(rng.choice([0.0, 0.3]))

    async def change_elsewhere(self, rng: random.Random) -> None:
        self.groups.clear()
        self.groups.update(rng.choice([{"carl": ("team",)}, {"carl": ()}, {}]))

    async def wait(self, rng: random.Random) -> None:
        self.clock.advance(rng.choice([0.1, 0.3, 5, 61, 61, 400, 3000]))

    async def add_upstream(self, rng: random.Random) -> None:
        project = rng.choice(PROJECTS)
        hosted = self.upstream.projects.setdefault(project, [])
        if len(hosted) > 2:
            hosted.pop(0)
        else:
            self.upstream.add(project, build_wheel(project, f"{rng.randrange(1, 40)}.5"))

    async def change_mirror(self, rng: random.Random) -> None:
        config = changed_config(
            (await self.engine.store.tree()).indexes[MIRROR], mirror_cache_expiry=rng.choice([2, 100, 1800])
        )
        await self.apply(PutIndex(config))

    async def change_shelf(self, rng: random.Random) -> None:
        project, version = rng.choice(PROJECTS), rng.choice(_VERSIONS)
        path = self.shelf / build_wheel(project, version).filename
        if path.exists() and rng.random() < 0.5:
            path.unlink()
        else:
            self.drop(project, version)

    def drop(self, project: str, version: str) -> None:
        self.shelf.mkdir(exist_ok=True)
        built = build_wheel(project, version)
        draft = self.shelf / f".{built.filename}"
        draft.write_bytes(built.data)
        draft.replace(self.shelf / built.filename)

    async def settle(self) -> None:
        """Wait for what the engine does in the background."""
        await self.engine.settle()
        await asyncio.sleep(0)


_CHANGES = [
    *("put", "delete", "yank", "mark", "drop_project", "change_index", "change_password", "drop_user", "add_user"),
    *("new_token", "revoke_token", "write_passwords", "change_elsewhere", "wait", "wait", "add_upstream"),
    *("change_mirror", "change_shelf", "change_shelf", "make_index_again", "change_policies", "change_policies"),
]


@asynccontextmanager
async def opened_world(place: Path, *, proxied: bool) -> AsyncIterator[World]:
    """Open the servers in an empty directory. With `proxied` loopback is a trusted proxy, which may name users."""
    clock, fakes = ManualClock(_START), Fakes()
    options: dict[str, Any] = {}
    if proxied:
        remote = RemoteUser(header="X-Remote-User", secret=PROXY_SECRET, groups_header="X-Remote-Groups")
        options = {"trusted_proxies": ("127.0.0.0/8",), "remote_user": remote}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream())
        (place / ".htpasswd").write_text(f"ben:{ldap_sha1.hash('secret')}\n")
        tables = {"htpasswd": {"path": str(place / ".htpasswd")}, "mirror": {"wait": 5.0}}
        settings = ServerSettings(
            data=place / "data", access_log=False, upstream=upstream.url, shutdown_timeout=1.0,
            failed_logins=0, plugins=tables, **options,
        )  # fmt: skip
        plugins = load_plugins(program=plugin, extra=[fakes], settings=tables)
        engine = await stack.enter_async_context(opened_engine(settings, plugins=plugins, clock=clock))
        await engine.prepare()
        servers = Server(engine, settings), Server(engine, replace(settings, replay_bytes=0))
        for server in servers:
            await server.start("127.0.0.1", 0)
            stack.push_async_callback(server.stop)
        world = World(engine, servers, clock, upstream, place)
        world.groups = fakes.elsewhere.groups
        await world.fill()
        yield world
