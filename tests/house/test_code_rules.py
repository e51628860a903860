"""Rules that a linter does not know, each with its reason. What is found is told with file and line."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tests.house.conftest import ROOT, Module
from tests.house.test_floors import imports

Finding = tuple[int, str]


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def names_used(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Dotted names that are read or imported: `os.environ`, `from os import environ` alike."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


def whole_bodies(tree: ast.Module) -> Iterator[Finding]:
    """`request.post()` and `request.read()` hold a whole body in memory: uploads are read in bounded pieces."""
    for name, node in calls(tree):
        if name.rpartition(".")[2] == "post" and "request" in name.rpartition(".")[0].rpartition(".")[2]:
            yield node.lineno, f"{name}() reads a whole body into memory"


def wall_clocks(tree: ast.Module) -> Iterator[Finding]:
    """Time comes from the injected clock, so that tests own it."""
    forbidden = re.compile(r"(?:^|\.)(?:time\.time(?:_ns)?|datetime\.(?:now|utcnow|today)|date\.today)$")
    for name, line in names_used(tree):
        if forbidden.search(name):
            yield line, f"{name} reads the wall clock; use the Clock"


def code_from_data(tree: ast.Module) -> Iterator[Finding]:
    """Data never become code."""
    modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    functions = {"eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "jsonpickle.decode"}
    for name, line in names_used(tree):
        if name.partition(".")[0] in modules:
            yield line, f"{name} turns data into code"
    for name, node in calls(tree):
        if name in functions:
            yield node.lineno, f"{name}() turns data into code"


def prints(tree: ast.Module) -> Iterator[Finding]:
    """stdout is data and belongs to the commands; everything else logs or returns."""
    for name, node in calls(tree):
        if name in {"print", "sys.stdout.write", "sys.stderr.write"}:
            yield node.lineno, f"{name}() outside the commands"


def environment(tree: ast.Module) -> Iterator[Finding]:
    """No ambient state: the environment is read by the commands and handed to `load_settings`."""
    for name, line in names_used(tree):
        if re.search(r"(?:^|\.)os\.(?:environb?|getenvb?|putenv)$", name):
            yield line, f"{name} outside the commands"


def thread_locals(tree: ast.Module) -> Iterator[Finding]:
    """No ambient state: no thread-locals, no context variables."""
    for name, line in names_used(tree):
        if name in {"threading.local", "contextvars.ContextVar", "ContextVar"}:
            yield line, f"{name} is ambient state"


def type_names(tree: ast.Module) -> Iterator[Finding]:
    """What an index is stands in its configuration: a third party's type works because no name of a type is compared."""

    def is_type(node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "type"

    def is_constant(node: ast.expr) -> bool:
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return all(is_constant(each) for each in node.elts)
        named = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        return isinstance(node, ast.Constant) or bool(re.fullmatch(r"_?[A-Z][A-Z0-9_]*", named))

    for node in ast.walk(tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        if any(map(is_type, sides)) and any(map(is_constant, sides)):
            yield node.lineno, f"{ast.unparse(node)} compares the name of a type"
        elif isinstance(node, ast.Match) and is_type(node.subject):
            yield node.lineno, f"match {ast.unparse(node.subject)} compares the names of types"


COMMANDS = re.compile(r"^pkgindex_(?:core|http|mirror)/(?:cli\.py|commands/)")
RULES: dict[Callable[[ast.Module], Iterator[Finding]], re.Pattern[str] | None] = {
    whole_bodies: None,
    wall_clocks: re.compile(r"^pkgindex_core/clock\.py$"),
    code_from_data: None,
    # The applier of bundles is a program of its own on the far side of an air gap.
    prints: re.compile(rf"{COMMANDS.pattern}|^pkgindex_core/testing/|^pkgindex_mirror/bundles/apply_bundle\.py$"),
    environment: COMMANDS,
    thread_locals: None,
    # Where options are declared and where devpi's words are translated, names of types are what it is about.
    type_names: re.compile(r"^pkgindex_core/(?:rules/index_options\.py$|formats/devpi/)"),
}
"""Each rule, and the places where it does not hold."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule, modules):
    exempt = RULES[rule]
    found = [
        f"{module.place}:{line}: {what}"
        for module in modules
        if not (exempt and exempt.search(module.place))
        for line, what in rule(module.tree)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (whole_bodies, "await request.post()"),
        (whole_bodies, "await self._request.post()"),
        (wall_clocks, "time.time()"),
        (wall_clocks, "from time import time"),
        (wall_clocks, "datetime.datetime.now(UTC)"),
        (wall_clocks, "default_factory = datetime.now"),
        (code_from_data, "import pickle"),
        (code_from_data, "from marshal import loads"),
        (code_from_data, "eval(text)"),
        (code_from_data, "yaml.load(text)"),
        (prints, "print('x')"),
        (environment, "os.environ['X']"),
        (environment, "from os import environ"),
        (environment, "os.getenv('X')"),
        (thread_locals, "state = threading.local()"),
        (type_names, "config.type == 'mirror'"),
        (type_names, "'mirror' != tree.indexes[name].type"),
        (type_names, "config.type in {'mirror', 'stage'}"),
        (type_names, "config.type == constraining.KIND"),
        (type_names, "match config.type:\n    case 'mirror': pass"),
    ],
)
def test_a_broken_rule_is_noticed(rule, source: str):
    assert [*rule(ast.parse(source))] != []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (whole_bodies, "session.post(url)"),
        (wall_clocks, "self._clock.now()\ntime.monotonic()"),
        (code_from_data, "re.compile(text)\nast.literal_eval(text)"),
        (environment, "environ = {}\nload(environ=environ)"),
        (type_names, "old.type != new.type\nconfig.type in known\nkind == 'mirror'"),
    ],
)
def test_what_only_looks_alike_is_let_pass(rule, source: str):
    assert [*rule(ast.parse(source))] == []


class TestNames:
    """Whole nouns: a name is read more often than it is written."""

    SHORTENED = re.compile(
        r"(?:^|_)(?:pkgs?|cfg|conf|mgr|utils?|misc|helpers?|impl|tmp|req|resp|idx|cnt|num|val|obj|ctx|msg|btn|usr|pwd|proj)(?:_|$)"
    )
    VAGUE_CLASS = re.compile(r"(?:Manager|Helper|Util|Utils|Impl|Protocol|Interface)$|^(?:Abstract|Base|I)[A-Z]")

    def names(self, tree: ast.Module) -> Iterator[tuple[str, int]]:
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node.name, node.lineno
                arguments = node.args
                yield from (
                    (one.arg, one.lineno) for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
                )
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id, node.lineno

    def test_modules_functions_and_variables_are_whole_words(self, modules):
        found = [f"{m.place}: {m.name}" for m in modules if self.SHORTENED.search(m.name.rpartition(".")[2])]
        found += [
            f"{module.place}:{line}: {name}"
            for module in modules
            for name, line in self.names(module.tree)
            if self.SHORTENED.search(name.lower())
            and name.lower().strip("_") not in {"tmp_path", "pkg_info"}  # pytest's name, and that of a file
        ]
        assert not found, "\n".join(found)

    def test_classes_are_named_for_what_they_are(self, modules):
        found = [
            f"{module.place}:{node.lineno}: {node.name}"
            for module in modules
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ClassDef) and self.VAGUE_CLASS.search(node.name)
        ]
        assert not found, "\n".join(found)

    @pytest.mark.parametrize("name", ["cfg", "read_cfg", "pkg_name", "utils", "tmp"])
    def test_a_shortened_name_is_noticed(self, name: str):
        assert self.SHORTENED.search(name)
        assert [*self.names(ast.parse(f"{name} = 1"))] == [(name, 1)]
        assert [*self.names(ast.parse(f"async def f(a, /, {name}, *, c): ..."))] == [
            ("f", 1),
            ("a", 1),
            (name, 1),
            ("c", 1),
        ]

    @pytest.mark.parametrize(
        "name", ["package", "object", "request", "value", "number", "message", "project", "configure"]
    )
    def test_a_whole_word_is_let_pass(self, name: str):
        assert not self.SHORTENED.search(name)


class TestModules:
    def test_every_module_says_what_it_is_for(self, modules):
        found = [m.place for m in modules if m.path.name != "__init__.py" and not ast.get_docstring(m.tree)]
        assert not found, "\n".join(found)

    def test_package_files_only_hand_names_on(self, modules):
        passing = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
        found = [
            f"{module.place}:{node.lineno}"
            for module in modules
            if module.path.name == "__init__.py"
            for node in module.tree.body
            if not isinstance(node, passing)
            or (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant))
        ]
        assert not found, "\n".join(found)


class TestCaches:
    """Each cache of a server is in `/+metrics` (`NamedCache`), so that its limit and what it has can be seen."""

    NOT_SHOWN: ClassVar = {"_breakers": "one for each receiver of webhooks, which are configured"}

    def test_each_is_named(self, modules: list[Module]) -> None:
        made: Counter[str] = Counter()
        named: Counter[str] = Counter()
        for module in modules:
            of_module = set()
            for node in ast.walk(module.tree):
                if (
                    isinstance(node, ast.AnnAssign)
                    and node.value
                    and ast.unparse(node.annotation).startswith("BoundedCache[")
                ):
                    of_module.add(ast.unparse(node.target).rpartition(".")[2])
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "NamedCache":
                    named[ast.unparse(node.args[1]).rpartition(".")[2]] += 1
            made.update(of_module)
        assert made.total() > 40
        assert {name: count for name, count in made.items() if count > named[name]} == dict.fromkeys(self.NOT_SHOWN, 1)


class TestServices:
    """A service does one thing for a few: no module grows into the one that knows everything."""

    LINES = 250
    IMPORTERS = 6
    COMMON: ClassVar = {
        "pkgindex_core.services.reading.resolving": "whatever shows anything of a project writes down a resolution",
        "pkgindex_core.services.reading.assembling": "whatever shows the files of one makes a page of it",
        "pkgindex_core.services.administering.blob_owners": "whatever copies or checks blobs starts from the rows that name them",
    }
    """Services that many others import, and why."""

    @pytest.fixture
    def services(self, modules: list[Module]) -> list[Module]:
        return [module for module in modules if module.name.startswith("pkgindex_core.services.")]

    def too_long(self, services: Sequence[Module]) -> list[str]:
        lines = {module.place: len(module.text.splitlines()) for module in services}
        return [f"{place}: {count} lines" for place, count in lines.items() if count > self.LINES]

    def too_common(self, services: Sequence[Module]) -> list[str]:
        known = frozenset(module.name for module in services)
        importers = defaultdict(set)
        for module in services:
            for name, _ in imports(module.name, module.tree, known):
                importers[name].add(module.name)
        return [
            f"{name} is imported by {', '.join(sorted(importers[name]))}"
            for name in sorted(known)
            if name not in self.COMMON and len(importers[name]) >= self.IMPORTERS
        ]

    def test_are_short(self, services):
        assert len(services) > 40
        assert not self.too_long(services), "\n".join(self.too_long(services))

    def test_are_not_what_six_others_depend_on(self, services):
        assert not self.too_common(services), "\n".join(self.too_common(services))

    def test_the_common_ones_are_there(self, services):
        assert set(self.COMMON) <= {module.name for module in services}

    def test_one_that_is_too_long_is_noticed(self):
        assert self.too_long([service("long", "x = 1\n" * 250)]) == []
        assert self.too_long([service("long", "x = 1\n" * 251)]) == ["pkgindex_core/services/long.py: 251 lines"]

    @pytest.mark.parametrize(
        "how", ["from pkgindex_core.services.all import Thing", "from pkgindex_core.services import all"]
    )
    def test_one_that_too_many_import_is_noticed(self, how: str):
        users = [service(f"user{number}", how) for number in range(6)]
        assert self.too_common([service("all", ""), *users[:5]]) == []
        assert len(self.too_common([service("all", ""), *users])) == 1


def service(name: str, text: str) -> Module:
    place = ROOT / f"pkgindex_core/services/{name}.py"
    return Module(f"pkgindex_core.services.{name}", place, text, ast.parse(text))


class TestExceptionsToTheLinter:
    """Every `noqa` and `type: ignore` names what it silences and says why."""

    SILENCER = re.compile(r"#\s*(noqa|type:\s*ignore)", re.IGNORECASE)
    EXPLAINED = re.compile(
        r"#\s*(?:noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*|type: ignore\[[\w, -]+\])(?:\s+(?:-|#)\s*|\s{2,}#\s*)\S.{4,}"
    )

    def silencers(self, text: str) -> Iterator[tuple[int, str]]:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and self.SILENCER.search(token.string):
                yield token.start[0], token.string

    def test_say_what_and_why(self, root: Path):
        found = [
            f"{path.relative_to(root)}:{line}: {comment}"
            for place in ("pkgindex_core", "pkgindex_http", "pkgindex_mirror", "tests", "benchmarks")
            for path in sorted((root / place).rglob("*.py"))
            for line, comment in self.silencers(path.read_text(encoding="utf-8"))
            if not self.EXPLAINED.search(comment)
        ]
        assert not found, "\n".join(found)

    @pytest.mark.parametrize(
        "comment",
        ["# noqa", "# noqa: S105", "# type: ignore", "# type: ignore[arg-type]", "# noqa: S105 -"],
    )
    def test_a_bare_one_is_noticed(self, comment: str):
        ((_, found),) = self.silencers(f"x = 1  {comment}\n")
        assert not self.EXPLAINED.search(found)

    @pytest.mark.parametrize(
        "comment",
        [
            "# noqa: S105 - the name of a file",
            "# noqa: S105, ARG001 - the name of a file",
            "# type: ignore[arg-type]  # the stub is wrong",
        ],
    )
    def test_an_explained_one_is_let_pass(self, comment: str):
        ((_, found),) = self.silencers(f"x = 1  {comment}\n")
        assert self.EXPLAINED.search(found)
