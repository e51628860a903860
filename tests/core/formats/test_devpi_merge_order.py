"""The order in which devpi 7.0 merges bases. What is expected was asked of devpi-server 7.0.0b4: which of several files of one name it gave."""

import pytest

from pkgindex_core.formats.devpi.merge_order import merge_order
from pkgindex_core.models import IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.testing.configs import mirror_config


def order(bases: dict[str, str]) -> str:
    """The order for t/a; each index is a letter, those from x on are mirrors."""
    mirrors = "xyz"
    configs = [
        *(
            IndexConfig(name=IndexName(f"t/{name}"), bases=tuple(IndexName(f"t/{base}") for base in of))
            for name, of in bases.items()
        ),
        *(mirror_config(f"t/{name}") for name in mirrors),
    ]
    tree = Tree(serial=Serial(1), indexes={config.name: config for config in configs})
    return "".join(name.removeprefix("t/") for name in merge_order(tree, IndexName("t/a")))


@pytest.mark.parametrize(
    ("bases", "expected"),
    [
        ({"a": "bc", "b": "d", "c": "", "d": ""}, "abdc"),  # depth first
        ({"a": "xy"}, "ayx"),  # the last of two mirrors
        ({"a": "bc", "b": "x", "c": ""}, "acbx"),  # what leads to a mirror comes later
        ({"a": "bc", "b": "x", "c": "y"}, "acybx"),
        ({"a": "bc", "b": "d", "c": "d", "d": "x"}, "acbdx"),  # the usual diamond
        ({"a": "bx", "b": "cxy", "c": "y"}, "axbyc"),
    ],
)
def test_it_is_that_of_the_real_server(bases: dict[str, str], expected: str) -> None:
    assert order(bases) == expected


def test_circles_and_bases_that_do_not_exist_end() -> None:
    assert order({"a": "bq", "b": "ca", "c": "b"}) == "abc"
    assert order({"a": "a"}) == "a"
