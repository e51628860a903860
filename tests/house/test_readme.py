"""README.md is true: its links lead somewhere, its two lines are the ones that are run, its commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from pkgindex_http.settings import load_settings

ROOT = Path(__file__).parents[2]
ROOMS = ("pkgindex_core", "pkgindex_http", "pkgindex_mirror", "benchmarks", "tests")
DOCUMENTS = [
    "README.md",
    *sorted(p.relative_to(ROOT).as_posix() for room in ROOMS for p in (ROOT / room).rglob("*.md")),
]


def fenced(text: str, marker: str) -> str:
    """The line in the code block below a marker."""
    (block,) = re.findall(rf"^<!-- {marker} -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (line,) = block.splitlines()
    return line


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The anchors that a page has, as they are made from its headings."""
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str, root: Path):
    document = root / name
    text = document.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = document.parent / path if path else document
        if not place.exists() or (anchor and anchor not in anchors(place.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_and_files_that_are_named_exist(document: str, root: Path):
    text = (root / document).read_text(encoding="utf-8")
    missing = []
    for name in re.findall(r"`(pkgindex_(?:core|http|mirror)(?:[./][\w*.-]+)+/?)`", text):
        path = name if "/" in name else name.replace(".", "/")
        there = [root / path, root / f"{path}.py", root / f"{path.rpartition('/')[0]}.py"]
        there.append(root / path.rpartition("/")[0] / "__init__.py")
        if "*" not in name and not any(place.exists() for place in there):
            missing.append(name)
    assert not missing, "\n".join(missing)


def test_the_configuration_that_is_there_to_copy_is_taken(readme: str, tmp_path: Path):
    (block,) = re.findall(r"^<!-- configuration -->\n```toml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    file = tmp_path / "pkgindex.toml"
    file.write_text(block, encoding="utf-8")
    settings = load_settings(file=file, environ={})
    assert (settings.host, settings.outside_url) == ("0.0.0.0", "https://packages.example.com")


def test_nothing_that_is_there_to_paste_has_to_be_filled_in(readme: str):
    """Except for words in capitals, as everywhere."""
    assert [
        block for block in re.findall(r"^```\w*\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL) if "…" in block
    ] == []


def test_the_line_that_starts_a_server_starts_the_command(readme: str):
    assert fenced(readme, "run").endswith(".venv/bin/pkgindex-serve")


def test_the_line_for_the_tests_makes_an_environment_and_runs_them_all(readme: str):
    steps = [shlex.split(step) for step in fenced(readme, "test").split(" && ")]
    assert steps == [
        ["python3", "-m", "venv", ".venv"],
        [".venv/bin/pip", "install", "-e", ".[test]"],
        [".venv/bin/pytest", "-n", "3"],
    ]


class TestCommands:
    """A line that begins with the command is taken by it: its subcommand and its options exist."""

    LINE = re.compile(r"^(?: {4})?pkgindex-serve\b(.*)$", re.MULTILINE)
    ASIDE = re.compile(r" {3,}.*|\s#.*")

    def written(self, text: str) -> list[list[str]]:
        return [shlex.split(self.ASIDE.sub("", line)) for line in self.LINE.findall(text)]

    def problem(self, words: list[str]) -> str:
        from pkgindex_http.cli import main

        command: click.Command = main
        context = click.Context(main, **main.context_settings)
        left = words if words and not words[0].startswith("-") else ["run", *words]
        while isinstance(command, click.Group) and left:
            try:
                _, found, left = command.resolve_command(context, left)
            except click.UsageError:
                break
            assert found is not None
            command = found
            # A command keeps its help option, whose names come from the context above: a context alone would change them for other tests.
            context = click.Context(command, parent=context, **command.context_settings)
        if isinstance(command, click.Group):
            return f"no such command: {' '.join(words)}"
        try:
            command.make_parser(context).parse_args(left)
        except click.UsageError as error:
            return error.format_message()
        return ""

    @pytest.mark.parametrize("document", ["README.md", "pkgindex_http/README.md"])
    def test_the_pages_to_begin_with_have_some(self, document: str, root: Path):
        assert len(self.written((root / document).read_text(encoding="utf-8"))) >= 4

    def test_every_one_is_taken(self, root: Path):
        found = [
            f"{document}: {problem}"
            for document in DOCUMENTS
            for words in self.written((root / document).read_text(encoding="utf-8"))
            if (problem := self.problem(words))
        ]
        assert not found, "\n".join(found)

    @pytest.mark.parametrize("line", ["publish dist", "index -c team/dev", "verify --mend", "--prot 80", "user"])
    def test_one_that_is_not_is_noticed(self, line: str):
        ((*words,),) = self.written(f"pkgindex-serve {line}   # an aside")
        assert self.problem(words)


class TestPagesOfTheServer:
    """One page to read, and pages to look things up in."""

    LINES = 150
    WIDTH = 120

    @pytest.fixture
    def page(self, root: Path) -> str:
        return (root / "pkgindex_http/README.md").read_text(encoding="utf-8")

    def test_the_first_page_is_short_and_names_ten_things_to_do(self, page: str):
        assert len(page.splitlines()) <= self.LINES
        assert re.findall(r"^### (\d+)\. ", page, re.MULTILINE) == [str(number) for number in range(1, 11)]

    def test_the_first_page_leads_to_each_other_page(self, page: str, root: Path):
        pages = {path.name for path in (root / "pkgindex_http").glob("*.md")} - {"README.md"}
        assert set(re.findall(r"^\| \[(\w+\.md)\]\(\1\) \|", page, re.MULTILINE)) == pages

    def test_prose_fits_a_screen(self, root: Path):
        """Rows of tables cannot be broken, and examples are not prose."""
        long = [
            f"{path.name}:{at}"
            for path in (root / "pkgindex_http").glob("*.md")
            for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if len(line) > self.WIDTH and not line.startswith(("|", "    "))
        ]
        assert not long, "\n".join(long)


class TestContinuousIntegration:
    """`.ci/run` on a stand-in project whose tools only say that they were called."""

    @pytest.fixture
    def project(self, tmp_path: Path, root: Path) -> Path:
        project = tmp_path / "project"
        (project / ".ci").mkdir(parents=True)
        shutil.copy(root / ".ci/run", project / ".ci/run")
        (project / "tools").mkdir()
        for name in ("ruff", "mypy", "pytest"):
            tool = project / "tools" / name
            tool.write_text(f'#!/bin/sh\necho "{name} $*"\ntest ! -e fail-{name}\n')
            tool.chmod(0o755)
        self.describe(project, "python3 -c 'import sys; print(sys.version_info >= (3, 11))' && cp -r tools .venv && mkdir .venv/bin && mv .venv/[mpr]* .venv/bin && .venv/bin/pytest -n 2")  # fmt: skip
        return project

    def describe(self, project: Path, line: str) -> None:
        (project / "README.md").write_text(
            f"# x\n\n<!-- run -->\n```sh\nfalse\n```\n\n<!-- test -->\n```sh\n{line}\n```\n"
        )

    def run(self, project: Path) -> subprocess.CompletedProcess[str]:
        work = project.parent / "work"
        work.mkdir(exist_ok=True)
        environ = os.environ | {"TMPDIR": str(work), "PKGINDEX_PORT": "1"}
        done = subprocess.run([project / ".ci/run"], capture_output=True, text=True, check=False, env=environ)
        assert [*work.iterdir()] == [], "the copy was left behind"
        return done

    def test_runs_the_line_of_the_readme_with_the_linters_before_the_tests(self, project: Path):
        done = self.run(project)
        assert done.stdout.splitlines() == ["True", "ruff check .", "ruff format --check .", "mypy ", "pytest -n 2"]
        assert done.returncode == 0

    @pytest.mark.parametrize(("tool", "last"), [("ruff", "ruff check ."), ("mypy", "mypy "), ("pytest", "pytest -n 2")])
    def test_fails_when_a_step_fails_and_stops_there(self, project: Path, tool: str, last: str):
        (project / f"fail-{tool}").touch()
        done = self.run(project)
        assert done.returncode != 0
        assert done.stdout.splitlines()[-1] == last

    @pytest.mark.parametrize(("failed", "again"), [(1, True), (5, True), (6, False)])
    @pytest.mark.parametrize("passes_alone", [True, False])
    def test_runs_a_few_failed_tests_once_more_alone(self, project: Path, failed: int, again: bool, passes_alone: bool):
        cache = ".pytest_cache/v/cache"
        kept = json.dumps({f"tests/test_it.py::test_{number}": True for number in range(failed)})
        (project / "tools/pytest").write_text(
            f"#!/bin/sh\necho \"pytest $*\"\nmkdir -p {cache}\necho '{kept}' > {cache}/lastfailed\n"
            + ('case "$1" in --last-failed) exit 0;; esac\n' if passes_alone else "")
            + "exit 1\n"
        )
        done = self.run(project)
        said = done.stdout.splitlines()
        assert ("pytest --last-failed --last-failed-no-failures none" in said) == again
        assert (kept in said) == again, "the tests are named"
        assert done.returncode == (0 if again and passes_alone else 1)

    def test_works_in_a_copy_and_leaves_the_tree_alone(self, project: Path):
        before = sorted(project.rglob("*"))
        self.run(project)
        assert sorted(project.rglob("*")) == before

    def test_says_so_when_the_readme_has_no_such_line(self, project: Path):
        self.describe(project, "echo nothing")
        done = self.run(project)
        assert done.returncode != 0
        assert "README.md has no line for the tests" in done.stderr
