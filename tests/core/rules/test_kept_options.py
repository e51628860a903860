"""Options that lie among those of plugins: what they are where nothing is kept, and how they are kept."""

from __future__ import annotations

import pytest
from msgspec.structs import fields

from pkgindex_core.rules.index_options import BUILTIN_OPTIONS
from pkgindex_core.rules.kept_options import (
    DEFAULTS,
    MirrorOptions,
    mirror_options,
    unites_whitelists,
    whitelist,
    with_options,
)
from pkgindex_core.testing.configs import index_config, mirror_config

NAME = "root/pypi"


def test_where_nothing_is_kept_the_defaults_hold() -> None:
    config = index_config(NAME)
    assert mirror_options(config) == MirrorOptions()
    assert (list(whitelist(config)), unites_whitelists(config)) == ([], False)


def test_what_is_kept_is_read_under_the_names_that_people_write() -> None:
    config = mirror_config(NAME, "https://h/simple/", absent_statuses=(404, 403), mirror_no_project_list=True)
    assert config.options == {
        "mirror_url": "https://h/simple/",
        "absent_statuses": [404, 403],
        "mirror_no_project_list": True,
    }
    expected = MirrorOptions(url="https://h/simple/", absent_statuses=(404, 403), no_project_list=True)
    assert mirror_options(config) == expected
    opened = index_config(NAME, mirror_whitelist=("six",), mirror_whitelist_inheritance="union")
    assert (whitelist(opened), unites_whitelists(opened)) == (["six"], True)


def test_options_of_others_are_left_alone() -> None:
    config = with_options(index_config(NAME, options={"theirs": [1]}), mirror_url="https://h/")
    assert with_options(config, mirror_url="") == index_config(NAME, options={"theirs": [1]})


@pytest.mark.parametrize("key", DEFAULTS)
def test_an_option_at_its_default_is_not_kept(key: str) -> None:
    """So that two ways to the same index give equal ones."""
    default = DEFAULTS[key]
    assert index_config(NAME, **{key: tuple(default) if isinstance(default, list) else default}).options == {}


def test_every_option_of_a_mirror_can_be_written_under_its_name() -> None:
    """But for credentials, which are written as a part of the URL."""
    keys = {field.encode_name for field in fields(MirrorOptions)}
    assert keys < DEFAULTS.keys()
    assert keys - BUILTIN_OPTIONS.keys() == {"mirror_credentials"}
