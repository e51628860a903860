"""Filter plugins that others wrote for bandersnatch work here, beside bandersnatch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from pkgindex_core.errors import Refused
from pkgindex_mirror.filters.making import filters_of
from tests.mirror.filters.conftest import from_document, kept
from tests.mirror.filters.plugin_cases import project, simple

PLUGINS = """
from bandersnatch.configuration import BandersnatchConfig

class Plugin:
    deprecated_name = ""
    def __init__(self):
        self.configuration = BandersnatchConfig()
    def setting(self, key):
        return self.configuration["foreign"][key]
    def enabled(self):
        return self.name in self.configuration["plugins"]["enabled"].split("\\n")

class Names(Plugin):
    name = "foreign_names"
    def filter(self, metadata):
        assert self.enabled()
        return metadata["info"]["name"] != self.setting("name")

class Documents(Plugin):
    name = "foreign_documents"
    def filter(self, metadata):
        metadata["info"]["changed"] = True
        return metadata["info"]["license"] == self.setting("license")

class Files(Plugin):
    name = "foreign_files"
    def filter(self, metadata):
        assert "changed" not in metadata["info"] and metadata["release"]
        return not metadata["release_file"]["filename"].endswith(".zip")

class Releases(Plugin):
    name = "foreign_releases"
    def filter(self, metadata):
        return metadata["version"] == sorted(metadata["releases"])[0] or len(metadata["releases"]) < 2

class Failing(Plugin):
    name = "foreign_failing"
    def filter(self, metadata):
        raise KeyError("oops")
"""
ENTRY_POINTS = """
[bandersnatch_filter_plugins.v2.project]
foreign_names = foreign_mirror_plugins:Names
foreign_failing = foreign_mirror_plugins:Failing
[bandersnatch_filter_plugins.v2.metadata]
foreign_documents = foreign_mirror_plugins:Documents
[bandersnatch_filter_plugins.v2.release_file]
foreign_files = foreign_mirror_plugins:Files
[bandersnatch_filter_plugins.v2.release]
foreign_releases = foreign_mirror_plugins:Releases
"""
FAKE_BANDERSNATCH = '''
"""A fake of the one part of bandersnatch that plugins need: its only configuration."""
from configparser import ConfigParser
class BandersnatchConfig(ConfigParser):
    _only = None
    def __new__(cls):
        if cls._only is None:
            cls._only = super().__new__(cls)
            ConfigParser.__init__(cls._only, delimiters="=")
            cls._only.read_dict({"mirror": {"master": "x"}, "leftover": {"a": "b"}})
        return cls._only
    def __init__(self):
        pass
    def optionxform(self, name):
        return name
'''
DEMO = project("demo", {"1.0": ["demo-1.0.tar.gz", "demo-1.0.zip"], "2.0": ["demo-2.0.tar.gz"]}, license="MIT 100%")
SECTIONS = {"foreign": {"name": "Other", "license": "MIT 100%"}}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with plugins, without bandersnatch beside it."""
    (tmp_path / "foreign_mirror_plugins.py").write_text(PLUGINS, encoding="utf-8")
    information = tmp_path / "foreign_mirror_plugins-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: foreign-mirror-plugins\nVersion: 1.0\n", encoding="utf-8"
    )
    (information / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("foreign_mirror_plugins", *(each for each in sys.modules if each.partition(".")[0] == "bandersnatch")):
        sys.modules.pop(name, None)


@pytest.fixture
def beside(plugins: Path) -> Path:
    """The same with bandersnatch, or a fake of it where it is not installed."""
    if find_spec("bandersnatch") is None:
        (plugins / "bandersnatch").mkdir()
        (plugins / "bandersnatch/__init__.py").touch()
        (plugins / "bandersnatch/configuration.py").write_text(FAKE_BANDERSNATCH, encoding="utf-8")
        importlib.invalidate_caches()
    return plugins


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("foreign_names", ["demo-1.0.tar.gz", "demo-1.0.zip", "demo-2.0.tar.gz"]),
        ("foreign_documents", ["demo-1.0.tar.gz", "demo-1.0.zip", "demo-2.0.tar.gz"]),
        ("foreign_files", ["demo-1.0.tar.gz", "demo-2.0.tar.gz"]),
        ("foreign_releases", ["demo-1.0.tar.gz", "demo-1.0.zip"]),
        ("foreign_documents foreign_files foreign_releases", ["demo-1.0.tar.gz"]),
        ("foreign_files latest_release", ["demo-2.0.tar.gz"]),
    ],
)
def test_each_stage(beside: Path, word: str, expected: list[str]):
    sections = {**SECTIONS, "latest_release": {"keep": "1"}}
    assert kept(filters_of(word.split(), sections, base=beside), from_document(DEMO)) == expected


def test_a_plugin_refuses(beside: Path):
    filters = filters_of(["foreign_names"], SECTIONS, base=beside)
    assert kept(filters, from_document(simple("Other", "1.0"))) == []
    assert not filters.needs_document
    assert (
        kept(filters_of(["foreign_documents"], {"foreign": {"license": "BSD"}}, base=beside), from_document(DEMO)) == []
    )


def test_releases_that_are_refused_are_gone_for_the_next(beside: Path):
    document = simple("demo", "1.0", "2.0", "3.0")
    filters = filters_of(["regex_release", "foreign_releases"], {"filter_regex": {"releases": "1"}}, base=beside)
    # 1.0 is refused first; 2.0 is then the first of those that are left.
    assert kept(filters, from_document(document)) == ["demo-2.0.tar.gz"]


def test_settings_of_an_earlier_configuration_are_gone(beside: Path):
    filters_of(["foreign_names"], SECTIONS, base=beside)
    filters = filters_of(["foreign_names"], {"other": {}}, base=beside)
    with pytest.raises(Refused, match="the plugin foreign_names fails at demo: KeyError"):
        kept(filters, from_document(DEMO))


def test_a_failing_plugin_fails_the_project(beside: Path):
    with pytest.raises(Refused, match="the plugin foreign_failing fails at demo: KeyError: 'oops'"):
        kept(filters_of(["foreign_failing"], {}, base=beside), from_document(DEMO))


def test_settings_are_part_of_the_fingerprint(beside: Path):
    one, other = (filters_of(["foreign_names"], {"foreign": {"name": name}}, base=beside) for name in "ab")
    assert one.fingerprint != other.fingerprint


def test_without_bandersnatch_they_are_named(plugins: Path):
    if find_spec("bandersnatch") is not None:
        pytest.skip("bandersnatch is installed")
    with pytest.raises(
        Refused, match=r"foreign_names.* written for bandersnatch, which cannot be imported here: No module"
    ) as raised:
        filters_of(["foreign_names"], SECTIONS, base=plugins)
    assert raised.value.hint.startswith("install bandersnatch")


def test_a_word_that_is_no_plugin_is_named(beside: Path):
    with pytest.raises(Refused, match="no filter 'foreign_name'") as raised:
        filters_of(["foreign_files", "foreign_name"], SECTIONS, base=beside)
    assert "did you mean" in raised.value.hint


def test_built_in_filters_need_no_bandersnatch(plugins: Path):
    assert filters_of(["prerelease_release"], {}, base=plugins).words == ("releases",)
