"""bandersnatch and this mirror take turns on one tree with one configuration, and neither downloads what the other has.

Also the guide from which many mirrors of a few projects come, word for word.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.peers.registry import NginxRegistry, serving
from tests.clients.conftest import Installers
from tests.clients.running import Ran, run, served_files
from tests.mirror.scenarios.conftest import Upstream
from tests.mirror.scenarios.mirror_programs import ROOT
from tests.mirror.scenarios.mirrored_trees import content, lacks, paths, problems

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

NOWHERE = "https://127.0.0.1:9"
"""For bandersnatch's `verify`, which takes no registry without TLS, and has nothing to ask of one."""
PLUGINS = {
    "everything": "",
    "some projects": "[plugins]\nenabled =\n    allowlist_project\n[allowlist]\npackages =\n    beta-00001\n    tau.00009\n",
    "newest": "[plugins]\nenabled =\n    latest_release\n[latest_release]\nkeep = 1\n",
    "no sdists": (
        "[plugins]\nenabled =\n    regex_release_file_metadata\n"
        "[regex_release_file_metadata]\nany:release_file.packagetype =\n    bdist_wheel\n"
    ),
}


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """A registry of twelve projects."""
    if missing := NginxRegistry(tmp_path).missing():
        pytest.skip(f"nginx: {missing}")
    with serving(tmp_path / "upstream") as server:
        registry = server.registry()
        registry.fill(12, 60)
        yield Upstream(registry=registry, server=server)


class Turns:
    """One tree, one configuration, two programs."""

    def __init__(
        self, base: Path, upstream: Upstream, bandersnatch: Path, plugins: str = "", options: str = ""
    ) -> None:
        self.tree = base / "tree"
        self.web = self.tree / "web"
        self._bandersnatch = bandersnatch
        self._upstream = upstream
        self._configuration = base / "bandersnatch.conf"
        self._offline = base / "offline.conf"
        for place, master in ((self._configuration, upstream.server.url), (self._offline, NOWHERE)):
            place.write_text(
                f"[mirror]\ndirectory = {self.tree}\nmaster = {master}\nallow-non-https = true\njson = true\n"
                f"timeout = 20\nworkers = 2\nhash-index = false\nstop-on-error = false\n{options}{plugins}"
            )

    async def theirs(self, word: str = "mirror", *words: str) -> list[str]:
        """Run bandersnatch; the requests that it took."""
        configuration = self._offline if word == "verify" else self._configuration
        return self._asked(await run(self._bandersnatch, "-c", configuration, word, *words))

    async def ours(self, word: str = "mirror", *words: str) -> list[str]:
        """Run this mirror; the requests that it took."""
        return self._asked(await run(*own(), word, "-c", self._configuration, *words, env={"PYTHONPATH": str(ROOT)}))

    def _asked(self, ran: Ran) -> list[str]:
        assert ran.status == 0, ran.output
        return self._upstream.server.requests()


def own() -> list[str]:
    return [sys.executable, "-m", "pkgindex_mirror"]


def downloads(requests: list[str]) -> list[str]:
    return [request for request in requests if " /packages/" in request]


def packages(turns: Turns) -> dict[str, tuple[int, int]]:
    """Files and sidecars with inode and time: what is downloaded again has others."""
    found = [path for path in paths(turns.web) if path.startswith("packages/")]
    stats = {path: (turns.web / path).stat() for path in found}
    return {path: (stat.st_ino, stat.st_mtime_ns // 1_000_000) for path, stat in stats.items()}


@pytest.mark.parametrize("plugins", PLUGINS)
async def test_a_tree_of_bandersnatch_is_gone_on_with(
    bandersnatch: Path, upstream: Upstream, tmp_path: Path, plugins: str
) -> None:
    turns = Turns(tmp_path, upstream, bandersnatch, PLUGINS[plugins])
    assert downloads(await turns.theirs()) != []
    before = packages(turns)
    assert downloads(await turns.ours()) == []
    assert packages(turns) == before
    assert problems(turns.tree) == []
    assert len(await turns.ours()) == 1
    faults.release(upstream.registry, share=0.3)
    await turns.ours()
    assert await turns.theirs("verify") == []
    assert downloads(await turns.theirs()) == []
    assert problems(turns.tree) == []


@pytest.mark.parametrize("plugins", PLUGINS)
async def test_bandersnatch_goes_on_with_our_tree(
    bandersnatch: Path, upstream: Upstream, tmp_path: Path, plugins: str
) -> None:
    turns = Turns(tmp_path, upstream, bandersnatch, PLUGINS[plugins])
    assert downloads(await turns.ours()) != []
    before, pages = packages(turns), content(turns.tree)
    # Nothing is new for it: the serial that we wrote is the one of the list.
    assert await turns.theirs() == ["301 GET /simple -", "200 GET /simple/ -"]
    assert content(turns.tree) == pages
    # And when it looks at every project, all files are there.
    assert downloads(await turns.theirs("mirror", "--force-check")) == []
    assert packages(turns) == before
    faults.release(upstream.registry, share=0.3)
    new = downloads(await turns.theirs())
    assert new != [] or plugins == "some projects"
    assert downloads(await turns.ours()) == []
    assert problems(turns.tree) == []


@pytest.mark.parametrize("plugins", PLUGINS)
async def test_its_verify_finds_nothing_to_do_on_our_tree(
    bandersnatch: Path, upstream: Upstream, tmp_path: Path, plugins: str
) -> None:
    turns = Turns(tmp_path, upstream, bandersnatch, PLUGINS[plugins])
    await turns.ours()
    before = content(turns.tree)
    assert await turns.theirs("verify", "--delete") == []
    assert content(turns.tree) == before
    assert await turns.ours("verify", "--delete") == []
    assert content(turns.tree) == before


async def test_both_leave_the_same_tree(bandersnatch: Path, upstream: Upstream, tmp_path: Path) -> None:
    """The same paths, the same files with the same times, the same documents. Pages say the same to an installer."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    theirs = Turns(tmp_path / "theirs", upstream, bandersnatch)
    ours = Turns(tmp_path / "ours", upstream, bandersnatch)
    await theirs.theirs()
    await ours.ours()
    found, expected = content(ours.tree), content(theirs.tree)
    assert sorted(found) == sorted(expected)
    for path, (data, moment) in expected.items():
        if path.startswith("packages/"):
            assert found[path][0] == data
            assert found[path][1] // 1_000_000 == moment // 1_000_000, path
        elif path.startswith(("json/", "pypi/")):
            assert json.loads(found[path][0]) == json.loads(data)
    for each in (ours, theirs):
        assert lacks(each.tree, upstream.registry) == []
    for name in ("status", "generation"):
        assert (ours.tree / name).read_text() == (theirs.tree / name).read_text()


@pytest.mark.parametrize("options", ["hash-index = true\n", "simple-format = JSON\n", "compare-method = stat\n"])
async def test_options_mean_the_same_to_both(
    bandersnatch: Path, upstream: Upstream, tmp_path: Path, options: str
) -> None:
    turns = Turns(tmp_path, upstream, bandersnatch)
    for place in tmp_path.glob("*.conf"):
        text = place.read_text().replace(
            "hash-index = false\n", "" if "hash-index" in options else "hash-index = false\n"
        )
        place.write_text(text.replace("[mirror]\n", f"[mirror]\n{options}"))
    await turns.theirs()
    before = sorted(content(turns.tree))
    assert downloads(await turns.ours()) == []
    assert sorted(content(turns.tree)) == before
    await turns.ours("mirror", "--force-check")
    assert sorted(content(turns.tree)) == before
    assert await turns.theirs("verify", "--delete") == []
    assert sorted(content(turns.tree)) == before


async def test_what_bandersnatch_left_undone_is_done(bandersnatch: Path, upstream: Upstream, tmp_path: Path) -> None:
    """A poisoned project stops bandersnatch for good; its `todo` does not stop us."""
    turns = Turns(tmp_path, upstream, bandersnatch)
    await turns.theirs()
    faults.release(upstream.registry, share=0.3)
    faults.poison(upstream.registry, "beta-00001", "unavailable")
    await turns.theirs()
    assert (turns.tree / "todo").exists()
    faults.release(upstream.registry, share=0.2)
    faults.recover(upstream.registry, "beta-00001")
    await turns.ours()
    assert lacks(turns.tree, upstream.registry) == []
    assert downloads(await turns.theirs()) == []
    assert not (turns.tree / "todo").exists()


GUIDE = """\
[mirror]
directory = {directory}
master = {master}
timeout = 10
workers = 3
hash-index = false
stop-on-error = false

[plugins]
enabled =
    allowlist_project

[allowlist]
packages =
    alpha.00000
    beta-00001
    gamma-00002
"""


async def test_the_guide_works_word_for_word(upstream: Upstream, tmp_path: Path, installers: Installers) -> None:
    """`bandersnatch mirror --config …` and `python -m http.server`, with the name of this program: what they leave installs."""
    directory = tmp_path / "pypi-mirror"
    configuration = tmp_path / "bandersnatch.conf"
    # The guide's registry has TLS. This one has not, and that has to be said.
    text = GUIDE.format(directory=directory, master=f"{upstream.server.url}\nallow-non-https = true")
    configuration.write_text(text)
    for words in (("mirror", "--config", configuration), ("--config", configuration, "mirror")):
        ran = await run(*own(), *words, env={"PYTHONPATH": str(ROOT)})
        assert ran.status == 0, ran.output
    names = ["alpha-00000", "beta-00001", "gamma-00002"]
    assert lacks(directory, upstream.registry, names) == []
    async with served_files(directory / "web") as url:
        for client in ("pip", "uv"):
            ran, found = await installers.install(client, f"{url}/simple/", *names)
            assert len(found) == len(names), ran.output
