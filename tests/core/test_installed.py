"""`pkgindex_core.installed` finds the same distributions and entry points as `importlib.metadata`."""

from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from pkgindex_core import installed
from pkgindex_core.installed import EntryPoint, entry_points, installed_version

LINES = "[console_scripts]\ndemo = demo:main\n\n[pkgindex]\n# a remark\nplugin = demo.plugin\nother=demo:other.inner [extra]\n"


@pytest.fixture(autouse=True)
def unread() -> None:
    installed_version.cache_clear()


def information(site: Path, name: str, entries: str = "", *, version: str = "1.0", ending: str = "dist-info") -> None:
    """Write the metadata directory of an installed distribution."""
    directory = site / f"{name.replace('-', '_')}-{version}.{ending}"
    directory.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: 9 of the description\n"
    (directory / ("METADATA" if ending == "dist-info" else "PKG-INFO")).write_text(text)
    if entries:
        (directory / "entry_points.txt").write_text(entries)


def of_metadata(group: str) -> list[tuple[str, ...]]:
    found = [each for each in metadata.entry_points(group=group) if each.dist is not None]
    return sorted((each.name, each.value, each.dist.name, each.dist.version) for each in found if each.dist is not None)


def test_all_installed_distributions_have_the_versions_of_their_metadata():
    names = {each.name for each in metadata.distributions()}
    assert len(names) > 10
    assert {name: installed_version(name) for name in names} == {name: metadata.version(name) for name in names}


def test_all_groups_of_entry_points_are_those_of_the_metadata():
    groups = {each.group for one in metadata.distributions() for each in one.entry_points}
    assert "console_scripts" in groups
    for group in groups:
        assert sorted(
            (each.name, each.value, each.distribution, each.version) for each in entry_points(group)
        ) == of_metadata(group)


@pytest.mark.parametrize("ending", ["dist-info", "egg-info"])
def test_entry_points_have_the_distribution_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str):
    information(tmp_path, "the-demo", LINES, ending=ending)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [each for each in entry_points("pkgindex") if each.place == str(tmp_path)]
    assert found == [
        EntryPoint("plugin", "demo.plugin", "the-demo", "1.0", str(tmp_path)),
        EntryPoint("other", "demo:other.inner [extra]", "the-demo", "1.0", str(tmp_path)),
    ]


def test_a_shadowed_distribution_has_no_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    information(tmp_path / "later", "the-demo", LINES, version="1.0")
    information(tmp_path / "first", "The.Demo", version="2.0")
    for place in ("later", "first"):
        monkeypatch.syspath_prepend(str(tmp_path / place))
    assert [each for each in entry_points("pkgindex") if each.distribution == "the-demo"] == []
    assert installed_version("the-demo") == "2.0"


def test_a_zip_file_on_the_search_path_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("zipped-3.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 3.0\n")
        archive.writestr("zipped-3.0.dist-info/entry_points.txt", LINES)
    monkeypatch.syspath_prepend(str(tmp_path / "all.zip"))
    assert installed_version("zipped") == "3.0"
    assert {each.name for each in entry_points("pkgindex") if each.distribution == "zipped"} == {"plugin", "other"}


def test_another_finder_of_distributions_is_asked(monkeypatch: pytest.MonkeyPatch):
    class Elsewhere(metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            return {"METADATA": "Name: elsewhere\nVersion: 4\n", "entry_points.txt": LINES}.get(filename)

        def locate_file(self, path: object) -> Path:
            return Path("elsewhere") / str(path)

    class Finder(metadata.DistributionFinder):
        def find_spec(self, *_names: object) -> None:
            """Find no module."""

        def find_distributions(self, context: metadata.DistributionFinder.Context) -> list[metadata.Distribution]:
            return [Elsewhere()] if context.name in {None, "elsewhere"} else []

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert installed_version("elsewhere") == "4"
    assert {each.value for each in entry_points("pkgindex") if each.distribution == "elsewhere"} == {
        "demo.plugin",
        "demo:other.inner [extra]",
    }


def test_an_entry_point_is_loaded_with_its_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loaded_demo.py").write_text("class other:\n    inner = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert EntryPoint("a", "loaded_demo:other.inner [extra]", "", "", "").load() == 7
    assert EntryPoint("a", "loaded_demo", "", "", "").load() is sys.modules["loaded_demo"]
    with pytest.raises(ModuleNotFoundError, match="no_such_demo"):
        EntryPoint("a", "no_such_demo", "", "", "").load()


def test_what_is_not_installed_has_no_version():
    assert installed_version("no-such-distribution-anywhere") == ""


def test_metadata_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    information(tmp_path, "read-once")
    monkeypatch.syspath_prepend(str(tmp_path))
    first = installed_version("read-once")
    monkeypatch.setattr(installed, "_distributions", lambda: iter(()))
    assert [first, installed_version("read-once")] == ["1.0", "1.0"]
