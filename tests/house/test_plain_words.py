"""One word a thing, and sentences that a stranger reads once: the part of both that a program can check."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pytest

from tests.house.conftest import ROOT, Module

LOCAL_UNION = "_Store"
"""The sum of the roles that one module uses, as an empty Protocol: each module may have one of this name."""

RIDDLES = (
    re.compile(r"\A\W*(?:Who|Whom|Whoever|Nobody|What)\b"),
    re.compile(r"\b(?:[Ww]hoever|[Nn]obody|[Ww]homever)\b"),
    re.compile(r"(?:,| for) who\b(?![,)])"),
)
"""Subjects that are not the thing in the code. In a list of columns or fields, `who` is a name."""


def class_names(module: Module) -> Iterator[tuple[str, int]]:
    """Names of classes without the underscore of private ones. Local unions of roles are left out."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and not (node.name == LOCAL_UNION and _is_empty_protocol(node)):
            yield node.name.lstrip("_"), node.lineno


def _is_empty_protocol(node: ast.ClassDef) -> bool:
    return ast.unparse(node.bases[-1]) == "Protocol" and [ast.unparse(each) for each in node.body] == ["..."]


def texts(module: Module) -> Iterator[tuple[int, str]]:
    """Docstrings, comments, and the strings of messages."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def riddles(module: Module) -> list[str]:
    """The places in a module whose text has a subject that it should not have."""
    return [
        f"{module.place}:{line}: {text.strip()[:100]!r}"
        for line, text in texts(module)
        if any(riddle.search(text) for riddle in RIDDLES)
    ]


def twins(modules: Sequence[Module]) -> list[str]:
    """Names that several classes have, with the place of each."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for name, line in class_names(module):
            places[name].append(f"{module.place}:{line}")
    return [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1]


def test_no_two_classes_have_one_name(modules: list[Module]) -> None:
    found = twins(modules)
    assert not found, "\n".join(found)


def test_texts_have_the_thing_in_the_code_as_their_subject(modules: list[Module]) -> None:
    found = [each for module in modules for each in riddles(module)]
    assert not found, "\n".join(found)


def _module(source: str, place: str = "pkgindex_core/x.py") -> Module:
    return Module(place, ROOT / place, source, ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""Who asks: a principal."""',
        'def f():\n  """What a page shows."""',
        "x = 1  # nobody waits for it",
        'error("told to whoever asks")',
        'x = 1\n"""A race, for who lost it."""',
    ],
)
def test_a_riddle_is_noticed(source: str) -> None:
    assert riddles(_module(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        '"""The principal of a request."""',
        "x = NOBODY",
        'sql("SELECT at, who, packed FROM commits")',
        '"""A commit has an author, whose name is shown."""',
    ],
)
def test_a_plain_text_is_let_pass(source: str) -> None:
    assert riddles(_module(source)) == []


def test_twins_are_noticed_and_local_unions_let_pass() -> None:
    union = "class _Store(Trees, Protocol): ..."
    one, other = _module(f"class Found: ...\n{union}"), _module(f"class _Found: ...\n{union}", "pkgindex_core/y.py")
    assert twins([one, other]) == ["Found: pkgindex_core/x.py:1, pkgindex_core/y.py:1"]
