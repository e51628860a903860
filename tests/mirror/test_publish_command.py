"""`pkgindex-mirror publish`: its options, and those of dumb-pypi."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pkgindex_core import failpoints
from pkgindex_mirror.cli import main
from tests.crash.processes import clean_environment
from tests.mirror.trees import contents, opened, put, wheel

LINES = (
    {"filename": "demo-1.0-py3-none-any.whl", "hash": "sha256=" + "ab" * 32, "upload_timestamp": 1_700_000_000},
    {
        "filename": "demo-1.1-py3-none-any.whl",
        "hash": "sha256=" + "cd" * 32,
        "yanked_reason": "bad",
        "requires_dist": ["x"],
    },
    {"filename": "other-1.0.tar.gz"},
)


def written(place: Path, *lines: dict[str, Any]) -> Path:
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


def run(*words: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["publish", *map(str, words)], input=typed)


def from_list(place: Path, source: Path, *words: str | Path) -> dict[str, Any]:
    ran = run("--package-list-json", source, "--packages-url", "../../pool/", "--output-dir", place, "--json", *words)
    assert ran.exit_code == 0, ran.output
    done: dict[str, Any] = json.loads(ran.stdout)
    return done


def test_a_list_becomes_a_tree(tmp_path: Path) -> None:
    source = written(tmp_path / "list", *LINES)
    done = from_list(tmp_path / "tree", source, "--title", "Ours", "--logo", "logo.png", "--no-generate-timestamp")
    assert (done["projects"], done["files"]) == (2, 0)
    page = json.loads((tmp_path / "tree/simple/demo/index.json").read_bytes())
    assert [file["url"] for file in page["files"]] == [f"../../pool/demo-1.{n}-py3-none-any.whl" for n in (0, 1)]
    assert [file.get("yanked") for file in page["files"]] == [None, "bad"]
    document = json.loads((tmp_path / "tree/pypi/demo/1.1/json").read_bytes())
    assert document["info"]["requires_dist"] == ["x"]
    assert document["urls"][0]["url"] == "../../../pool/demo-1.1-py3-none-any.whl"
    home = (tmp_path / "tree/index.html").read_text()
    assert "<h1>Ours</h1>" in home
    assert '<img src="logo.png"' in home
    lines = (tmp_path / "tree/packages.json").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(LINES)


def test_the_tree_knows_what_has_changed_in_a_list(tmp_path: Path) -> None:
    """In any order, added, changed and removed: as if it were written at once."""
    from_list(tmp_path / "tree", written(tmp_path / "list", *LINES))
    changed = ({**LINES[1], "yanked_reason": "worse"}, LINES[0], {"filename": "new-1.0.zip"})
    done = from_list(tmp_path / "tree", written(tmp_path / "list", *changed), "--previous-package-list-json", "ignored")
    assert (done["looked_at"], done["whole"]) == (3, False)
    from_list(tmp_path / "fresh", tmp_path / "list")
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")
    assert from_list(tmp_path / "tree", tmp_path / "list")["objects"] == 0


def test_a_list_comes_from_standard_input_too(tmp_path: Path) -> None:
    ran = run("--package-list", "-", "--packages-url", "/pool", "--to", tmp_path / "tree", typed="demo-1.0.zip\n../x\n")
    assert ran.exit_code == 0
    assert "skipping package" in ran.stderr
    assert b'href="/pool/demo-1.0.zip"' in (tmp_path / "tree/simple/demo/index.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ["name one thing to publish", "say once where the tree goes"]),
        (
            ("root/dev", "--package-list", "x", "--to", "a", "--output-dir", "b"),
            ["one thing", "say once", "--packages-url"],
        ),
        (("--package-list", "x", "--to", "a", "--packages-url", "p", "--as", "anna"), ["--as and --include-mirrors"]),
        (("nonsense", "--to", "a"), ["user/"]),
        *(
            (("--package-list", "x", "--to", "a", "--packages-url", url), ["is no URL of a directory"])
            for url in (
                "javascript:alert(1)//",
                "data:x",
                "s3://bucket",
                "https://x.example.org/?a=b",
                "/p#f",
                "/a b",
                "http://[",
            )
        ),
        (("root/dev", "--to", ""), ["say once"]),
        (("--package-list", "/nowhere/x", "--to", "a", "--packages-url", "p"), ["cannot be read"]),
    ],
)
def test_what_contradicts_itself_is_told_at_once(words: tuple[str, ...], said: list[str]) -> None:
    ran = run(*words)
    assert ran.exit_code == 1
    for each in said:
        assert each in ran.stderr


async def test_an_index_of_a_store_is_published_with_the_configuration_of_the_server(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
    config = tmp_path / "pkgindex.toml"
    config.write_text(f'data = "{tmp_path / "data"}"\nport = 4040\n[remote_user]\nheader = "X-User"\n')
    ran = await asyncio.to_thread(run, "root/dev", "--to", tmp_path / "tree", "--config", config)
    assert ran.exit_code == 0, ran.output
    assert "1 projects" in ran.stderr
    assert ran.stdout == ""
    ran = await asyncio.to_thread(run, "root/nothing", "--to", tmp_path / "tree", "--config", config)
    assert ran.exit_code == 1
    assert "root/nothing" in ran.stderr
    ran = await asyncio.to_thread(run, "root/dev", "--to", tmp_path / "x", "--data", tmp_path / "nowhere")
    assert ran.exit_code == 1
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "nowhere").exists()


def test_a_list_that_returns_to_what_it_was_after_a_kill(tmp_path: Path) -> None:
    """The killed run has written what neither the catalogue nor the new list has."""
    before, after = (
        written(tmp_path / "before", *LINES),
        written(tmp_path / "after", LINES[0], {"filename": "new-1.zip"}),
    )
    from_list(tmp_path / "tree", before)
    failpoints.arm("publish.removed=raise:EIO")
    try:
        run("--package-list-json", after, "--packages-url", "../../pool/", "--to", tmp_path / "tree")
    finally:
        failpoints.disarm()
    assert (tmp_path / "tree/simple/new").exists()
    from_list(tmp_path / "tree", before)
    from_list(tmp_path / "fresh", before)
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


LOADED = """
import sys
from pkgindex_mirror.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print(*sorted({"aiohttp", "argon2", "fsspec", "jinja2", "rich"} & sys.modules.keys()))
"""


async def test_a_run_that_writes_one_upload_loads_little(tmp_path: Path) -> None:
    """Most of the time of such a run is its start. Templates are needed once, and a bar at a terminal only."""
    words = ("publish", "root/dev", "--data", tmp_path / "data", "--to", tmp_path / "tree")
    for version in ("1.0", "1.1"):
        async with opened(tmp_path / "data") as engine:
            await put(engine, wheel("demo", version), "demo", version)
        ran = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LOADED, *words, env=clean_environment() | {"PYTHONPATH": ":".join(filter(None, sys.path))},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        said, _ = await ran.communicate()
        assert ran.returncode == 0
    assert said.split() == []
    assert (tmp_path / "tree/pypi/demo/1.1/json").is_file()


async def test_following_is_about_an_index(tmp_path: Path) -> None:
    ran = await asyncio.to_thread(run, "--package-list", "x", "--packages-url", "p", "--to", tmp_path / "a", "--follow")
    assert ran.exit_code == 1
    assert "--follow is about the commits of an index" in ran.stderr
