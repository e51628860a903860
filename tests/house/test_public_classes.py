"""Every public class can be looked up with `help` and `inspect.signature`, as plugin authors do."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterator, Sequence
from importlib import import_module

from tests.house.conftest import Module


def public_classes(modules: Sequence[Module]) -> Iterator[type]:
    """The classes without an underscore, each in the module that defines it."""
    for module in modules:
        if module.path.name == "__main__.py":
            continue
        for name, found in vars(import_module(module.name)).items():
            if inspect.isclass(found) and found.__module__ == module.name and not name.startswith("_"):
                yield found


def test_help_knows_every_name_in_the_annotations_of_a_public_class(modules: list[Module]) -> None:
    """A name that is imported only for type checkers is a NameError in `help` of a Struct."""
    problems = []
    for each in public_classes(modules):
        try:
            pydoc.render_doc(each)
            inspect.signature(each)
        except NameError as error:
            problems.append(f"{each.__module__}.{each.__qualname__}: {error}")
        except ValueError:  # a class without a signature, such as an enumeration
            continue
    assert problems == []
