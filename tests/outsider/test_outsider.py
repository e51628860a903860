"""Somebody else's distribution is installed, found, listed and used; it has nothing but the published contracts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pkgindex_core import installed
from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.models import File, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_core.protocols import BlobStore, Build, InspectedUpload, UploadForm
from pkgindex_core.testing.blob_store import BlobStoreContract

DEV = IndexName("root/dev")


@pytest.fixture
def only_the_outsider(outsider: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Other plugins that happen to be installed here are not what these tests are about."""
    everything = installed.entry_points
    monkeypatch.setattr(
        installed,
        "entry_points",
        lambda group: [entry for entry in everything(group) if entry.value.startswith("pkgindex_outsider")],
    )
    return outsider


@pytest.fixture
def plugins(only_the_outsider: Path) -> Plugins:
    return load_plugins()


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with ThreadPoolExecutor(1) as workers:
        yield Context(data=tmp_path, clock=SystemClock(), workers=workers)


class TestLoading:
    def test_is_listed_with_its_distribution_and_place(self, plugins: Plugins, outsider: Path):
        listed = [one for one in plugins.describe() if one.distribution == "pkgindex-outsider"]
        assert {(one.hook, one.name, one.plugin, one.version) for one in listed} == {
            ("pkgindex_blob_stores", "outsider", "outsider", "1.2.3"),
            ("pkgindex_upload_checks", "no-dev-versions", "outsider", "1.2.3"),
            ("pkgindex_page_filters", "no-nightlies", "outsider", "1.2.3"),
            ("pkgindex_index_types", "catalogue", "outsider", "1.2.3"),
            ("pkgindex_index_options", "catalogue_file", "outsider", "1.2.3"),
            ("pkgindex_sources", "catalogue", "outsider", "1.2.3"),
            ("pkgindex_routes", "census", "outsider", "1.2.3"),
            ("pkgindex_commands", "pkgindex-serve census", "outsider", "1.2.3"),
            ("pkgindex_templates", "outsider", "outsider", "1.2.3"),
        }
        assert {Path(one.path) for one in listed} == {outsider / "pkgindex_outsider/plugin.py"}

    def test_is_found_by_a_fresh_interpreter(self, outsider_site: Path):
        """As a server would find it: nothing is arranged but the search path."""
        program = (
            "from pkgindex_core.plugins import load_plugins\n"
            "print(*sorted({one.name for one in load_plugins(disabled=['pkgindex']).describe()"
            " if one.distribution == 'pkgindex-outsider'}), sep='\\n')"
        )
        path = os.pathsep.join([str(outsider_site), str(Path(__file__).parents[2])])
        environ = os.environ | {"PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
        assert done.stdout.splitlines() == [
            "catalogue",
            "catalogue_file",
            "census",
            "no-dev-versions",
            "no-nightlies",
            "outsider",
            "pkgindex-serve census",
        ]

    def test_loading_imports_no_engine_of_it(self, plugins: Plugins):
        assert "pkgindex_outsider.plugin" in sys.modules
        assert "pkgindex_outsider.blobs" not in sys.modules
        assert "pkgindex_outsider.catalogue" not in sys.modules

    @pytest.mark.usefixtures("only_the_outsider")
    def test_another_provider_of_its_name_is_refused_and_both_are_named(self):
        class Rival:
            @hookimpl
            def pkgindex_page_filters(self):
                return [Provider(name="no-nightlies", summary="mine", make=lambda context: None)]

        with pytest.raises(Refused) as refused:
            load_plugins(extra=[Rival()])
        (problem,) = refused.value.problems
        assert problem.startswith("pkgindex_page_filters: 'no-nightlies' is offered by plugin ")
        assert "pkgindex-outsider 1.2.3" in problem
        assert "Rival" in problem
        assert "disabled_plugins" in refused.value.hint

    @pytest.mark.usefixtures("only_the_outsider")
    def test_can_be_left_alone_although_it_is_installed(self):
        loaded = load_plugins(disabled=["PkgIndex_Outsider"]).describe()
        assert {one.distribution for one in loaded} == {"pkgindex"}


class TestUploadCheck:
    @pytest.mark.parametrize(("version", "refused"), [("1.0", False), ("1.0.dev3", True), ("2.0rc1", False)])
    def test_refuses_development_versions(
        self, plugins: Plugins, context: Context, tmp_path: Path, version: str, refused: bool
    ):
        (check,) = (provider.make(context) for provider in plugins.upload_checks())
        upload = InspectedUpload(
            index=DEV,
            project=ProjectName("demo"),
            file=File(filename=f"demo-{version}.tar.gz", version=version),
            form=UploadForm(fields={}),
            metadata=b"",
            path=tmp_path / "spooled",
        )
        assert [version in problem for problem in check.problems(upload)] == ([True] if refused else [])


class TestPageFilter:
    @pytest.mark.parametrize(
        ("settings", "filename", "reason"),
        [
            ({}, "demo-1.0-nightly.tar.gz", "its name contains 'nightly'"),
            ({}, "demo-1.0.tar.gz", None),
            ({"word": "Demo"}, "demo-1.0.tar.gz", "its name contains 'demo'"),
        ],
    )
    @pytest.mark.usefixtures("only_the_outsider")
    def test_hides_files_by_its_settings(
        self, context: Context, settings: dict[str, str], filename: str, reason: str | None
    ):
        plugins = load_plugins(settings={"no-nightlies": settings})
        *_, page_filter = (provider.make(context) for provider in plugins.page_filters())
        tree = Tree(serial=Serial(1), indexes={})
        build = Build(tree=tree, start=DEV, project=ProjectName("demo"), moment=Timestamp(0))
        assert page_filter.applies(tree, DEV)
        ruling = page_filter.judge(DEV, File(filename=filename), build)
        assert (ruling.reason if ruling else None) == reason


class TestOutsiderBlobs(BlobStoreContract):
    """Its store, opened through the hooks by its URL, keeps every promise of the role."""

    locates = "path"

    @pytest.fixture(autouse=True)
    def _installed(self, plugins: Plugins) -> None:
        self.plugins = plugins

    async def open_store(self, context: Context) -> BlobStore:
        url = (self.data / "the flat blobs").as_uri().replace("file", "outsider", 1)
        store: BlobStore = await self.plugins.blob_store(url).make(url, context)
        return store

    def peek(self, key: Sha256) -> bytes | None:
        path = self.data / "the flat blobs" / key
        return path.read_bytes() if path.exists() else None

    def poke(self, key: Sha256, data: bytes) -> None:
        (self.data / "the flat blobs" / key).write_bytes(data)

    def age(self, key: Sha256, seconds: float) -> None:
        os.utime(self.data / "the flat blobs" / key, (time.time() - seconds,) * 2)

    def leftovers(self) -> Collection[str]:
        return [path.name for path in (self.data / "the flat blobs/staging").iterdir()]

    def abandon(self, seconds: float) -> None:
        path = self.data / "the flat blobs/staging" / os.urandom(8).hex()
        path.write_bytes(b"half a wh")
        os.utime(path, (time.time() - seconds,) * 2)
