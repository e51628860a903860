"""Every contract suite has a wrong engine that it notices, and every role has a suite.

The wrong engines stand in wrong_engines.py. They are run by a pytest of their own, which says which tests failed.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree as ET

from pkgindex_core import hookspecs, protocols, testing
from pkgindex_core.plugins import HOOKS
from pkgindex_core.protocols import IndexStore
from tests.contracts import wrong_engines

ROOT = Path(__file__).parents[2]
WRONG = {name: engine for name, engine in vars(wrong_engines).items() if name.startswith("Test")}

WITHIN = {
    "ColdFile": "SourceContract",
    "Spool": "BlobStoreContract",
    "Learning": "LearningIndexContract",
}
"""Roles of what another role hands out, with the suite that proves them."""

OF_PROGRAMS = {"pkgindex_routes", "pkgindex_templates", "pkgindex_commands"}
"""Hooks whose providers make no role of the library. The programs check what they make."""


def suites() -> dict[str, type]:
    """Every contract suite that is shipped, by name."""
    modules = [
        importlib.import_module(f"{testing.__name__}.{each.name}") for each in pkgutil.iter_modules(testing.__path__)
    ]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and name.endswith("Contract") and value.__module__ == module.__name__
    }


def roles() -> Iterator[str]:
    """Every protocol that is declared, and every value that a hook's providers make."""
    places = [
        importlib.import_module(f"{protocols.__name__}.{each.name}")
        for each in pkgutil.iter_modules(protocols.__path__)
    ]
    for module in [importlib.import_module("pkgindex_core.clock"), *places]:
        for name, value in vars(module).items():
            if getattr(value, "_is_protocol", False) and value.__module__ == module.__name__:
                yield name
    for hook in sorted(set(HOOKS) - OF_PROGRAMS):
        ((provider,),) = map(
            get_args, get_args(inspect.signature(getattr(hookspecs, hook), eval_str=True).return_annotation)
        )
        yield provider.__name__


def test_every_role_has_a_suite_of_its_name() -> None:
    named = set(suites())
    assert {"Clock", "Source", "PageFilter", "IndexOption", "ReleaseRecords"} <= {*roles()}
    assert sorted({role for role in roles() if WITHIN.get(role, f"{role}Contract") not in named}) == []
    assert sorted(named - {f"{role}Contract" for role in roles()}) == []


def test_every_suite_is_told_of_to_authors_of_plugins() -> None:
    page = (ROOT / "pkgindex_core/testing/README.md").read_text(encoding="utf-8")
    of_stores = {f"{role.__name__}Contract" for role in IndexStore.__bases__}
    assert sorted(name for name in suites().keys() - of_stores if f"`{name}`" not in page) == []


def test_the_suite_of_a_role_calls_every_method_of_it() -> None:
    for role in IndexStore.__bases__:
        suite = suites().get(f"{role.__name__}Contract")
        if suite is None:
            continue
        source = "".join(inspect.getsource(cases) for cases in suite.__mro__[:-1])
        missing = [name for name in vars(role) if not name.startswith("_") and not re.search(rf"\.{name}\b", source)]
        assert missing == [], role.__name__


def test_every_name_of_a_class_is_one_thing() -> None:
    """Of all that is shipped for tests."""
    places: dict[str, set[str]] = {}
    for each in pkgutil.walk_packages(testing.__path__, f"{testing.__name__}."):
        module = importlib.import_module(each.name)
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == each.name:
                places.setdefault(name, set()).add(each.name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_every_suite_has_a_wrong_engine() -> None:
    tried = {base for engine in WRONG.values() for base in engine.__mro__ if engine.noticed_by}
    whole = {"IndexStoreContract"}  # the sum of the suites of its roles
    assert sorted(name for name, suite in suites().items() if suite not in tried and name not in whole) == []


def test_wrong_engines_are_noticed_and_right_ones_pass(tmp_path: Path) -> None:
    wanted = [
        "::".join(["tests/contracts/wrong_engines.py", name, *test])
        for name, engine in WRONG.items()
        for test in ([[test] for test in engine.noticed_by] or [[]])
    ]
    report = tmp_path / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=line", f"--junitxml={report}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *wanted], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    failed: set[tuple[str, str]] = set()
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add((case.get("classname", "").rpartition(".")[2], case.get("name", "").partition("[")[0]))
    assert failed == {(name, test) for name, engine in WRONG.items() for test in engine.noticed_by}
