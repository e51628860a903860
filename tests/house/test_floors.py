"""Imports go downwards, and each third-party package is known in its own rooms only.

The rules and formats stand one step above the roles, not below them: a role's values (`Verdict`, `MergedPage`) are
declared beside the role and are what a rule returns. All of it is ground: no I/O, no `async`.

The programs have floors inside (`INSIDE`). What a mirror reads of a stranger is ground too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping

import pytest

NOUNS, ROLES, PURE, TOOLS, ROOMS, COMPOSITION, PROGRAMS, TESTING = range(8)

FLOORS = {
    "pkgindex_core": NOUNS,
    "pkgindex_core.changes": NOUNS,
    "pkgindex_core.clock": NOUNS,
    "pkgindex_core.compression": NOUNS,
    "pkgindex_core.digests": NOUNS,
    "pkgindex_core.errors": NOUNS,
    "pkgindex_core.failpoints": NOUNS,
    "pkgindex_core.installed": NOUNS,
    "pkgindex_core.memory": NOUNS,
    "pkgindex_core.models": NOUNS,
    "pkgindex_core.names": NOUNS,
    "pkgindex_core.spelling": NOUNS,
    "pkgindex_core.storage_failures": NOUNS,
    "pkgindex_core.stored_configs": NOUNS,
    "pkgindex_core.tokens": NOUNS,
    "pkgindex_core.urls": NOUNS,
    "pkgindex_core.protocols.*": ROLES,
    "pkgindex_core.formats.*": PURE,
    "pkgindex_core.rules.*": PURE,
    "pkgindex_core.hookspecs": PURE,
    "pkgindex_core.roles": PURE,
    "pkgindex_core.tools.*": TOOLS,
    "pkgindex_core.engines.*": ROOMS,
    "pkgindex_core.services.*": ROOMS,
    "pkgindex_core.builtin": COMPOSITION,
    "pkgindex_core.commands.*": COMPOSITION,
    "pkgindex_core.composition.*": COMPOSITION,
    "pkgindex_core.config": COMPOSITION,
    "pkgindex_core.engine": COMPOSITION,
    "pkgindex_core.options": COMPOSITION,
    "pkgindex_core.plugins": COMPOSITION,
    "pkgindex_core.testing.*": TESTING,
    "pkgindex_mirror.testing.*": TESTING,
    "pkgindex_http.*": PROGRAMS,
    "pkgindex_mirror.*": PROGRAMS,
}
"""Every module has its floor; `.*` stands for a package with all that is in it. The first line that fits counts."""

READERS = "readers of what strangers sent"

INSIDE: Mapping[str, tuple[dict[str, str], ...]] = {
    "pkgindex_http": (
        {
            "values and wire formats": "access_log assets errors listening.* pasting oidc oidc.configured oidc.keys oidc.minting readiness replicas sandbox settings templates troubles wire.*"
        },
        {"request and routing": "admitting conditions requests routing"},
        {
            "native handlers": "handlers.*",
            "devpi's handlers": "devpi.*",
            "indexes of a command line": "ensuring",
            "trusted publishing": "oidc.routes",
            "checks of any index": "checking.*",
        },
        {
            "pypiserver's handlers": "pypiserver.*",
            "pages to work on": "working.*",
            "pages to read": "pages.*",
            "simpleindex's handlers": "simpleindex.*",
            "a cache's handlers": "proxpi proxpi.credentials proxpi.front proxpi.indexes proxpi.pages proxpi.routes proxpi.settings proxpi.variables",
        },
        {
            "server": "assembling opening plugin refusing routes server",
            "what runs the server": "deploying.*",
        },
        {"commands": "__main__ cli commands.* proxpi.command_line proxpi.plugin"},
    ),
    "pkgindex_mirror": (
        {READERS: "amounts documents.* file_policies retry settings urls"},
        {"client": "upstreams.*", "configurations of mirrors": "bandersnatch.*"},
        {
            "refreshing": "caching.* offline readthrough readthrough.checks readthrough.counts readthrough.files.* readthrough.measuring"
            " readthrough.noted_checks readthrough.outcomes readthrough.pages.* readthrough.stale_limit synced_indexes"
        },
        {
            "source": "readthrough.source",
            "sending abroad": "sending.*",
            "replicas": "replicas.*",
            "advisories": "advisories.*",
        },
        {"plugin": "plugin"},
        {
            "values of a sync": "syncing syncing.targets syncing.values",
            "headers of objects": "object_headers",
        },
        {
            "probe": "probe",
            "status": "status_tables statuses",
            "static trees": "static.*",
            "prefetching": "prefetching.*",
            "snapshots and bundles of trees": "snapshots.* bundles.*",
            "trees of mirrors": "trees.*",
        },
        {"filters": "filters.*"},
        {
            "runs of mirrors": "syncing.comparing syncing.crew syncing.departures syncing.explaining_projects syncing.file_fetching"
            " syncing.file_queue syncing.judging syncing.lanes syncing.lean_streams syncing.lean_transport"
            " syncing.list_entries syncing.list_reading syncing.listed_piles syncing.listing syncing.plain_anchors syncing.planning syncing.progress syncing.project_reading syncing.project_work"
            " syncing.policed_files syncing.pruning syncing.reports syncing.run_status syncing.running syncing.settings syncing.transport",
            "closures": "closing.*",
        },
        {"indexes of mirrors": "engine_target.*"},
        {"commands": "__main__ cli commands.*"},
    ),
}
"""The floors inside a program, the lowest first, each with its rooms. Two rooms of one floor do not know each other."""

STRANGERS = (
    {"pkgindex_core.engines.*", "pkgindex_core.services.*"},
    {"pkgindex_http.*", "pkgindex_mirror.*"},
    {"pkgindex_core.testing.*", "pkgindex_http.*"},
    {"pkgindex_core.testing.*", "pkgindex_mirror.*"},
    {"pkgindex_mirror.testing.*", "pkgindex_http.*"},
)
"""Rooms that do not know each other, whatever their floors."""

THIRD_PARTY = {
    "msgspec": ("*",),
    "packaging": ("*",),
    "pluggy": ("pkgindex_core.hookspecs", "pkgindex_core.plugins"),
    "nh3": ("pkgindex_http.wire.description_renderer",),
    "readme_renderer": ("pkgindex_http.wire.description_renderer",),
    "aiohttp": ("pkgindex_http.*", "pkgindex_mirror.*"),
    "multidict": ("pkgindex_http.*", "pkgindex_mirror.*"),
    "yarl": ("pkgindex_http.*", "pkgindex_mirror.*"),
    "uvloop": ("pkgindex_http.*", "pkgindex_mirror.*"),
    "click": (
        "pkgindex_core.commands.*",
        "pkgindex_http.cli",
        "pkgindex_http.commands.*",
        "pkgindex_mirror.cli",
        "pkgindex_mirror.commands.*",
    ),
    "rich": (
        "pkgindex_core.commands.progress",
        "pkgindex_http.cli",
        "pkgindex_http.commands.*",
        "pkgindex_mirror.cli",
        "pkgindex_mirror.commands.*",
    ),
    "markupsafe": ("pkgindex_http.working.plots",),
    "jinja2": ("pkgindex_http.*", "pkgindex_mirror.*"),
    "fsspec": ("pkgindex_core.engines.fsspec.connecting", "pkgindex_core.engines.directory.remote_root"),
    "apsw": ("pkgindex_core.engines.sqlite.*", "pkgindex_mirror.trees.database"),
    "asyncpg": ("pkgindex_core.engines.postgresql.*",),
    "aiohttp_socks": ("pkgindex_mirror.upstreams.socks_proxies",),
    "ldap3": ("pkgindex_core.engines.ldap.directory",),
    "argon2": ("pkgindex_core.engines.argon2",),
    "passlib": ("pkgindex_core.engines.htpasswd.hashes",),
    "cryptography": ("pkgindex_core.engines.sigstore.*", "pkgindex_mirror.bundles.keys"),
    "jwt": ("pkgindex_http.oidc.*",),
    "pydantic": ("pkgindex_core.engines.sigstore.*",),
    "pypi_attestations": ("pkgindex_core.engines.sigstore.*",),
    "sigstore": ("pkgindex_core.engines.sigstore.*",),
    # The standard library's zstd, and its backport for the Pythons before 3.14.
    "compression": (
        "pkgindex_core.compression",
        "pkgindex_core.engines.packing",
        "pkgindex_core.engines.advisories.packing",
    ),
    "backports": (
        "pkgindex_core.compression",
        "pkgindex_core.engines.packing",
        "pkgindex_core.engines.advisories.packing",
    ),
    "cvss": ("pkgindex_core.formats.advisories",),
    "isal": ("pkgindex_core.compression",),
    "pytest": ("pkgindex_core.testing.*", "pkgindex_mirror.testing.*"),
    "pytest_asyncio": ("pkgindex_core.testing.*", "pkgindex_mirror.testing.*"),
    "hypothesis": ("pkgindex_core.testing.*", "pkgindex_mirror.testing.*"),
}
"""Who may import what is not in the standard library."""

IMPURE = frozenset(
    {
        "aiohttp",
        "asyncio",
        "concurrent",
        "http",
        "multiprocessing",
        "select",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "threading",
    }
)
"""What the ground never needs."""


def matches(module: str, pattern: str) -> bool:
    if pattern.endswith(".*"):
        return module == pattern[:-2] or module.startswith(pattern[:-1])
    return pattern in {"*", module}


def room(module: str) -> str | None:
    """The line of the table a module belongs to."""
    return next((pattern for pattern in FLOORS if matches(module, pattern)), None)


def inside(module: str) -> tuple[int, str] | None:
    """The floor and the room of a module in its program; None for a module that is in none."""
    program, _, name = module.partition(".")
    for floor, rooms in enumerate(INSIDE.get(program, ())):
        for title, patterns in rooms.items():
            if any(matches(name, pattern) for pattern in patterns.split()):
                return floor, title
    return None


def wrong_inside(module: str, target: str) -> str:
    """What is wrong with an import from one room of a program into another; empty when nothing is."""
    here, there = inside(module), inside(target)
    if here is None or there is None or module.partition(".")[0] != target.partition(".")[0] or here == there:
        return ""
    if here[0] == there[0]:
        return f"{here[1]} and {there[1]} do not know each other"
    return f"from {here[1]} up to {there[1]}" if here[0] < there[0] else ""


def is_ground(module: str) -> bool:
    """Whether a module does no I/O."""
    place = inside(module)
    return FLOORS[room(module) or ""] <= PURE if place is None else place[1] == READERS


def imports(name: str, tree: ast.Module, known: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Every module that this one names in an import statement, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: relative imports hide the floor they lead to"
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                yield (member if member in known else str(node.module)), node.lineno


def violations(trees: Mapping[str, ast.Module]) -> list[str]:
    """One sentence for every import that should not be there."""
    found = []
    known = frozenset(trees)
    for module, tree in trees.items():
        here = room(module)
        if here is None:
            found.append(f"{module} has no floor: list it in {__name__}.FLOORS")
            continue
        for target, line in imports(module, tree, known):
            top = target.partition(".")[0]
            place = f"{module}:{line}"
            if top.startswith("pkgindex_"):
                there = room(target)
                if there is None:
                    found.append(f"{place} imports {target}, which is nowhere in the table of floors")
                elif FLOORS[there] > FLOORS[here]:
                    found.append(f"{place} imports {target}: from floor {FLOORS[here]} up to floor {FLOORS[there]}")
                elif here != there and any({here, there} <= strangers for strangers in STRANGERS):
                    found.append(f"{place} imports {target}: {here} and {there} do not know each other")
                elif wrong := wrong_inside(module, target):
                    found.append(f"{place} imports {target}: {wrong}")
            elif top in IMPURE and is_ground(module) and module != "pkgindex_core.hookspecs":
                found.append(f"{place} imports {target}: the ground does no I/O")
            elif top in THIRD_PARTY:
                if not any(matches(module, pattern) for pattern in THIRD_PARTY[top]):
                    found.append(f"{place} imports {target}, which belongs to {', '.join(THIRD_PARTY[top])}")
            elif top not in sys.stdlib_module_names:
                found.append(f"{place} imports {target}: say in {__name__}.THIRD_PARTY who may")
        if is_ground(module) and FLOORS[here] != ROLES and module != "pkgindex_core.hookspecs":
            found += [
                f"{module}:{node.lineno} is async: the ground never waits"
                for node in ast.walk(tree)
                if isinstance(node, (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await))
            ]
    return found


def test_every_import_goes_downwards(modules):
    found = violations({module.name: module.tree for module in modules})
    assert not found, "\n".join(found)


def test_every_line_of_the_table_is_needed(modules):
    assert {room(module.name) for module in modules} == set(FLOORS)


def test_every_module_of_a_program_has_one_room(modules):
    named = [
        f"{program}.{pattern}"
        for program, floors in INSIDE.items()
        for rooms in floors
        for patterns in rooms.values()
        for pattern in patterns.split()
    ]
    for module in modules:
        if room(module.name) in {f"{program}.*" for program in INSIDE} and module.name not in INSIDE:
            assert sum(matches(module.name, pattern) for pattern in named) == 1, module.name
    assert all(any(matches(module.name, pattern) for module in modules) for pattern in named)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("pkgindex_core.names", "import pkgindex_core.rules.lineage", "from floor 0 up to floor 2"),
        ("pkgindex_core.protocols.identity", "from pkgindex_core.engine import Engine", "from floor 1 up to floor 5"),
        ("pkgindex_core.rules.lineage", "def f():\n  from pkgindex_core import plugins", "from floor 2 up to floor 5"),
        ("pkgindex_core.engines.x", "from pkgindex_core.services.reading.pages import P", "do not know each other"),
        ("pkgindex_core.services.x", "from pkgindex_core.engines.memory import index", "do not know each other"),
        ("pkgindex_http.x", "from pkgindex_mirror.upstreams.upstream import U", "do not know each other"),
        ("pkgindex_mirror.x", "import pkgindex_http", "do not know each other"),
        ("pkgindex_http.x", "import pkgindex_core.testing.wheels", "from floor 6 up to floor 7"),
        ("pkgindex_core.testing.x", "import pkgindex_http", "do not know each other"),
        ("pkgindex_core.services.x", "from pkgindex_http.server import S", "from floor 4 up to floor 6"),
        ("pkgindex_core.services.x", "import aiohttp.web", "which belongs to pkgindex_http.*, pkgindex_mirror.*"),
        (
            "pkgindex_core.engines.local.blobs",
            "import fsspec",
            "which belongs to pkgindex_core.engines.fsspec.connecting",
        ),
        ("pkgindex_core.engines.memory.index", "import apsw", "which belongs to pkgindex_core.engines.sqlite.*"),
        ("pkgindex_core.engine", "import pluggy", "which belongs to pkgindex_core.hookspecs, pkgindex_core.plugins"),
        ("pkgindex_http.x", "import requests", "say in"),
        ("pkgindex_core.rules.lineage", "import asyncio", "the ground does no I/O"),
        ("pkgindex_core.formats.x", "async def f(): ...", "the ground never waits"),
        ("pkgindex_core.brand_new", "", "has no floor"),
        (
            "pkgindex_http.wire.replies",
            "import pkgindex_http.requests",
            "from values and wire formats up to request and rout",
        ),
        (
            "pkgindex_http.requests",
            "import pkgindex_http.handlers.simple",
            "from request and routing up to native handlers",
        ),
        ("pkgindex_http.devpi.x", "from pkgindex_http.server import S", "from devpi's handlers up to server"),
        (
            "pkgindex_http.handlers.files",
            "import pkgindex_http.devpi.x",
            "native handlers and devpi's handlers do not know each",
        ),
        (
            "pkgindex_http.devpi.x",
            "import pkgindex_http.handlers.simple",
            "devpi's handlers and native handlers do not know each",
        ),
        ("pkgindex_http.server", "from pkgindex_http.commands import x", "from server up to commands"),
        (
            "pkgindex_mirror.documents.pages",
            "import pkgindex_mirror.upstreams.upstream",
            "from readers of what strangers sent up to client",
        ),
        (
            "pkgindex_mirror.readthrough.pages.refreshing",
            "import pkgindex_mirror.readthrough.source",
            "from refreshing up to source",
        ),
        (
            "pkgindex_mirror.sending.webhooks",
            "import pkgindex_mirror.readthrough.source",
            "sending abroad and source do not know each",
        ),
        ("pkgindex_mirror.documents.pages", "import aiohttp", "the ground does no I/O"),
        ("pkgindex_mirror.urls", "async def f(): ...", "the ground never waits"),
        ("pkgindex_core.names", "import pkgindex_core.no_such_module", "nowhere in the table"),
    ],
)
def test_a_wrong_import_is_noticed(module: str, source: str, complaint: str):
    """This test can fail: each rule of the house, broken once."""
    others = dict.fromkeys(("pkgindex_core.plugins", "pkgindex_core.engines.memory.index"), ast.parse(""))
    (found,) = violations(others | {module: ast.parse(source)})
    assert complaint in found
    assert found.startswith(module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pkgindex_core.rules.x", "from pkgindex_core.protocols.policies import Verdict"),
        ("pkgindex_core.rules.x", "from pkgindex_core.formats.versions import ranks"),
        ("pkgindex_core.engines.sqlite.x", "import apsw\nimport sqlite3"),
        ("pkgindex_mirror.testing.x", "import pkgindex_core.testing.wheels\nimport pkgindex_mirror.upstreams.upstream"),
        ("pkgindex_mirror.x", "import aiohttp\nfrom pkgindex_core.engine import Engine"),
        (
            "pkgindex_mirror.plugin",
            "import pkgindex_mirror.readthrough.source\nimport pkgindex_mirror.sending.webhooks",
        ),
        ("pkgindex_http.devpi.x", "import pkgindex_http.devpi.y\nimport pkgindex_http.wire.replies"),
    ],
)
def test_a_right_import_is_let_pass(module: str, source: str):
    assert violations({module: ast.parse(source)}) == []
