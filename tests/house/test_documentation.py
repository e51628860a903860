"""What the documentation says of hooks and options is what the code says, and its examples run.

The tables are written by this test: `REGENERATE=1 pytest tests/house/test_documentation.py`.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import fields

from pkgindex_core import hookspecs, protocols
from pkgindex_core.changes import PutIndex
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.formats.upload_rules import Unusual
from pkgindex_core.names import parse_index_name, parse_project_name
from pkgindex_core.options import options_of
from pkgindex_core.plugins import HOOKS, load_plugins
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.rules.planning import Effects, Emptied, Facts, NamesEdit, PageEdit
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.testing.source_cases.base import SourceCases
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http import replicas
from pkgindex_http.listening import figures
from pkgindex_http.settings import ServerSettings
from pkgindex_http.wire import advisory_figures, scrub_figures, served_files
from pkgindex_mirror.readthrough import measuring
from pkgindex_mirror.settings import MirrorSettings

ROOT = Path(__file__).parents[2]


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def library() -> str:
    return (ROOT / "pkgindex_core/README.md").read_text(encoding="utf-8")


class TestHooks:
    def section(self, library: str, hook: str) -> str:
        (section,) = re.findall(rf"^### `{hook}`\n(.*?)(?=^##)", library, re.MULTILINE | re.DOTALL)
        return section

    def test_the_documentation_has_a_section_for_each_hook_and_no_other(self, library: str):
        assert tuple(re.findall(r"^### `(pkgindex_\w+)`$", library, re.MULTILINE)) == HOOKS

    @pytest.mark.parametrize("hook", HOOKS)
    def test_the_signature_is_exact(self, library: str, hook: str):
        specification = getattr(hookspecs, hook)
        returns = specification.__annotations__["return"]
        parameters = ", ".join(str(one) for one in inspect.signature(specification).parameters.values())
        assert code_blocks(self.section(library, hook), "python") == [f"def {hook}({parameters}) -> {returns}\n"]

    @pytest.mark.parametrize("hook", HOOKS)
    def test_the_summary_is_the_docstring(self, library: str, hook: str):
        section = in_one_line(self.section(library, hook))
        assert in_one_line(inspect.getdoc(getattr(hookspecs, hook)) or "nothing is said") in section

    @pytest.mark.parametrize("hook", HOOKS)
    def test_what_is_built_in_is_named(self, library: str, hook: str):
        section = self.section(library, hook)
        built_in = [one.name for one in load_plugins(entry_points=False).describe() if one.hook == hook]
        assert [name for name in built_in if f"`{name}`" not in section] == []

    @pytest.mark.parametrize("struct", [hookspecs.Context, hookspecs.Provider])
    def test_the_values_of_hooks_are_explained(self, library: str, struct: Any):
        guide = library.partition("## Writing a plugin")[2].partition("## Every hook")[0]
        assert [
            field.name for field in fields(struct) if not re.search(rf"`{field.name}`|\b{field.name}=", guide)
        ] == []

    @pytest.mark.parametrize(
        ("struct", "hook"), [(protocols.IndexType, "pkgindex_index_types"), (protocols.Names, "pkgindex_sources")]
    )
    def test_the_fields_of_values_of_plugins_are_in_a_table(self, library: str, struct: Any, hook: str):
        section = self.section(library, hook)
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [field.name for field in fields(struct)]

    def test_the_defaults_of_an_index_type_are_exact(self, library: str):
        rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", self.section(library, "pkgindex_index_types"), re.MULTILINE)
        defaults = [(field.name, field.default) for field in fields(protocols.IndexType)]
        assert [(name, ast.literal_eval(text)) for name, text in rows] == defaults


class TestExamples:
    def test_the_first_program_runs(self, library: str, tmp_path: Path):
        (example,) = [block for block in code_blocks(library, "python") if "asyncio.run" in block]
        wheel = build_wheel("demo", "1.0")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"{wheel.filename} {wheel.sha256}",
            f"{len(wheel.data)} bytes read back",
        ]

    def test_the_plugin_loads_and_does_what_is_said(
        self, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (example,) = [block for block in code_blocks(library, "python") if "no_candidates.py" in block]
        namespace: dict[str, Any] = {"__name__": "no_candidates"}
        exec(compile(example, "no_candidates.py", "exec"), namespace)
        module = type(sys)("no_candidates")
        vars(module).update(namespace)
        tables = {"no-candidates": {"indexes": ["team/stable"]}}
        *_, provider = load_plugins(extra=[module], entry_points=False, settings=tables).page_filters()
        from pkgindex_core.clock import SystemClock
        from pkgindex_core.models import File

        page_filter = provider.make(hookspecs.Context(data=tmp_path, clock=SystemClock(), workers=None))  # type: ignore[arg-type]  # not used
        assert page_filter.applies(None, "team/stable")
        assert not page_filter.applies(None, "team/dev")
        shown = {
            version: ruling and ruling.reason
            for version in ("1.0", "1.0rc1", "odd")
            for ruling in [page_filter.judge("team/stable", File(filename="x", version=version), None)]
        }
        assert page_filter.withheld(None, "team/stable", "team/stable", "x") is None
        assert shown == {"1.0": None, "1.0rc1": "1.0rc1 is a pre-release", "odd": None}

    async def test_the_source_gives_what_lies_on_the_shelf(self, library: str, tmp_path: Path):
        (example,) = [block for block in code_blocks(library, "py") if "# shelf.py" in block]
        module = type(sys)("shelf")
        exec(compile(example, "shelf.py", "exec"), vars(module))
        module.SHELF = tmp_path / "shelf"
        (module.SHELF / "demo").mkdir(parents=True)
        plugins = load_plugins(extra=[module], entry_points=False)
        settings = Settings(data=tmp_path / "data", store="memory://", blobs="memory://")
        async with Engine.open(settings, plugins=plugins) as engine:
            await engine.prepare()
            name, root = parse_index_name("root/shelf"), Principal(name="root")
            made = engine.index_options.made(name, {"type": "shelf"}, await engine.store.tree())
            await engine.store.apply([PutIndex(made)], who="[test]")

            async def page(project: str) -> set[str]:
                view = View(start=name, root="../../../../")
                wanted = parse_project_name(project)
                request = PageRequest(view=view, project=wanted, principal=root, media_type=JSON_V1)
                return {file["filename"] for file in json.loads((await engine.pages.project(request)).body)["files"]}

            wheels = [build_wheel("demo", "1.0"), build_wheel("demo", "2.0")]
            for wheel in wheels:
                (module.SHELF / "demo" / wheel.filename).write_bytes(wheel.data)
            assert await page("demo") == {wheel.filename for wheel in wheels}
            (module.SHELF / "demo" / wheels[0].filename).unlink()
            assert await page("demo") == {wheels[1].filename}
            with pytest.raises(Missing):
                await page("other")
            source = engine.sources.of(made)

            async def names() -> tuple[list[str], str]:
                names = await source.names(made)
                return [row.name async for rows in names.read("") for row in rows], names.freshness.state

            assert await names() == (["demo"], "fresh")
            (module.SHELF / "unasked").mkdir()
            assert await names() == (["demo", "unasked"], "fresh")
            (module.SHELF / "unasked").rmdir()
            assert await names() == (["demo"], "fresh")
            module.SHELF.rename(tmp_path / "elsewhere")
            assert await page("demo") == {wheels[1].filename}
            assert await names() == (["demo"], "stale")
            with pytest.raises(Unavailable, match=r"project other of root/shelf is not stored: it comes from .*/shelf"):
                await page("other")

    def test_every_other_example_at_least_compiles(self, library: str):
        for block in [*code_blocks(library, "python"), *code_blocks(library, "py")]:
            if not block.startswith("def pkgindex_"):
                ast.parse(textwrap.dedent(block))


def test_every_option_is_used_by_something(modules):
    """An option that is documented and does nothing is a lie."""
    read = {
        node.attr
        for module in modules
        if module.name not in {"pkgindex_core.config", "pkgindex_core.options", "pkgindex_http.settings"}
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and "settings" in ast.unparse(node.value)
    }
    assert [one.key for one in options_of(ServerSettings) if one.path[-1] not in read] == []


def table(rows: list[tuple[str, str, str, str]]) -> str:
    lines = ["| option | value | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def default_text(value: Any, unit: str = "") -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and unit == "bytes" and value >= 1024:
        power = next(power for power in (3, 2, 1) if value >= 1024**power)
        return f"`{value}` ({value / 1024**power:g} {'KMG'[power - 1]}iB)"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`" if value not in ((), "", {}) else "none"


def server_options() -> str:
    return table(
        [
            (f"`{one.key}`", one.kind, one.default_text or default_text(one.default, one.unit), one.text)
            for one in options_of(ServerSettings)
        ]
    )


def mirror_options() -> str:
    """The fields of `MirrorSettings`, with the texts that stand below them."""
    (node,) = ast.parse(inspect.getsource(MirrorSettings)).body
    assert isinstance(node, ast.ClassDef)
    texts = {
        field.target.id: in_one_line(text.value.value)
        for field, text in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }  # fmt: skip
    amount = "a number, or a text with a unit"
    kinds = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        int | str: amount,
        float | str: amount,
    }
    return table(
        [
            (
                f"`{field.name}`",
                kinds.get(field.type, "a list of texts"),
                default_text(field.default),
                texts.get(field.name, ""),
            )
            for field in fields(MirrorSettings)
        ]
    )


def unusual_uploads() -> str:
    lines = ["| lenient takes | what to do instead |", "|---|---|"]
    return "\n".join([*lines, *(f"| {kind.what} | {kind.advice} |" for kind in Unusual)])


def metrics() -> str:
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    meters = (
        *served_files.METERS,
        *figures.METERS,
        *scrub_figures.METERS,
        *advisory_figures.METERS,
        *replicas.METERS,
        *measuring.METERS,
    )
    lines += [
        f"| `{meter.name}` | {meter.kind} | {', '.join(f'`{label}`' for label in meter.labels) or 'none'} | {meter.meaning} |"
        for meter in meters
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("document", "table", "make"),
    [
        ("pkgindex_http/OPERATING.md", "metrics", metrics),
        ("pkgindex_http/OPTIONS.md", "options", server_options),
        ("pkgindex_http/UPLOADS.md", "unusual uploads", unusual_uploads),
        ("pkgindex_mirror/README.md", "options", mirror_options),
    ],
)
def test_the_table_is_that_of_the_code(document: str, table: str, make: Any):
    path = ROOT / document
    text = path.read_text(encoding="utf-8")
    between = re.compile(rf"(?<=^<!-- {table}: begin -->\n).*?(?=^<!-- {table}: end -->$)", re.MULTILINE | re.DOTALL)
    (written,) = between.findall(text)
    expected = f"{make()}\n"
    if os.environ.get("REGENERATE"):
        path.write_text(between.sub(lambda _: expected, text), encoding="utf-8")
        return
    assert written == expected, "run: REGENERATE=1 pytest tests/house/test_documentation.py"


@pytest.mark.parametrize("kind", [Facts, Effects, Emptied, PageEdit, NamesEdit])
def test_the_page_for_authors_of_stores_explains_each_field(kind: type[Struct]) -> None:
    page = (ROOT / "pkgindex_core/STORES.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    assert {each.name for each in fields(kind)} - named == set()


def test_the_declarations_of_the_suite_of_sources_are_in_a_table() -> None:
    page = (ROOT / "pkgindex_core/testing/README.md").read_text(encoding="utf-8")
    table = page.partition("| declaration |")[2].partition("\n\n")[0]
    declared = {name for name, kind in SourceCases.__annotations__.items() if "ClassVar" in str(kind)}
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == declared
    defaults = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", table, re.MULTILINE))
    assert defaults == {name: str(getattr(SourceCases, name)) for name in declared - {"upstream"}}
