"""Failpoints are declared, reached and tested: a point that no code passes proves nothing, one that no test names neither."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pkgindex_core.failpoints import POINTS

TESTED_IN = ("tests/crash", "tests/mirror", "tests/contracts")


def uses(tree: ast.Module) -> Iterator[tuple[str | None, int]]:
    """The name at every call of `failpoint`; None where it is not written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "failpoint":
            (argument,) = node.args
            written = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            yield (argument.value if written else None), node.lineno


def test_a_use_is_found_however_it_is_written():
    tree = ast.parse("failpoint('a')\nx.failpoints.failpoint('b')\nfailpoint(name)\nfailpoints('c')")
    assert [*uses(tree)] == [("a", 1), ("b", 2), (None, 3)]


def test_every_failpoint_in_the_code_is_declared(modules):
    wrong = [
        f"{module.place}:{line}: {name!r}"
        for module in modules
        for name, line in uses(module.tree)
        if name not in POINTS
    ]
    assert not wrong, "\n".join(wrong)


def test_every_declared_failpoint_stands_in_the_code(modules):
    passed = Counter(name for module in modules for name, _ in uses(module.tree))
    assert sorted(POINTS - passed.keys()) == []


def test_every_failpoint_is_named_by_a_test(root: Path):
    """Named in its own words or by its group: a test of all `POINTS` that begin with `"upload."`."""
    texts = [path.read_text() for place in TESTED_IN for path in sorted((root / place).rglob("*.py"))]
    words = "\n".join(texts)
    groups = {
        point.partition(".")[0]
        for point in POINTS
        if any("POINTS" in t and f'"{point.partition(".")[0]}."' in t for t in texts)
    }
    unnamed = [p for p in sorted(POINTS) if f'"{p}"' not in words and p.partition(".")[0] not in groups]
    assert not unnamed, "\n".join(unnamed)
