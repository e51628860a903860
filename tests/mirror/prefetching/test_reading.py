"""Requirements and lock files become what they want."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pkgindex_core.errors import Refused
from pkgindex_mirror.prefetching.choosing import targets
from pkgindex_mirror.prefetching.lock_files import read_wanted

A, B = "a" * 64, "b" * 64


def shown(path: Path) -> list[str]:
    return [each.shown for each in read_wanted(path).wanted]


def test_requirements(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("-c limits.txt\nSix\n")
    (tmp_path / "more" / "limits.txt").write_text("six<2  # not newer\nunused==1\n")
    path = tmp_path / "requirements.txt"
    path.write_text(
        "\ufeff# what we need\n"
        "--index-url https://example.org/simple/\n"
        "-r more/base.txt\n"
        "Demo_Lib[b,a] >= 1, \\\n   < 2 ; python_version > '3'\n"
        "-e .\n"
        "./local.whl\n"
        "direct @ https://example.org/direct.whl\n"
        "https://example.org/other.whl\n"
    )
    found = read_wanted(path)
    assert [each.shown for each in found.wanted] == ["six<2", "demo-lib[a,b]<2,>=1"]
    assert [each.where for each in found.wanted] == [f"{tmp_path}/more/base.txt, line 2", f"{path}, line 4"]
    assert all(each.follow for each in found.wanted)
    assert str(found.wanted[1].marker) == 'python_version > "3"'
    assert [line.partition(": ")[2] for line in found.left_out] == [
        ". is no project of an index",
        "./local.whl is no project of an index",
        "direct @ https://example.org/direct.whl is no project of an index",
        "https://example.org/other.whl is no project of an index",
    ]


def test_hashes_name_the_files_and_end_the_search_for_dependencies(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        f"demo==1.0 ; python_version > '3' \\\n    --hash=sha256:{A} \\\n    --hash sha256:{B.upper()}\nsix==1 --hash=md5:00\n"
    )
    demo, six = read_wanted(path).wanted
    assert (demo.shown, demo.sha256s, demo.follow) == ("demo==1.0", {A, B}, False)
    assert (six.shown, six.sha256s, six.follow) == ("six==1", frozenset(), False)


@pytest.mark.parametrize(
    "data",
    [
        "demo\n".encode("utf-8-sig"),
        "demo\n".encode("utf-16"),
        b"\xfe\xff" + "demo\n".encode("utf-16-be"),
        "demo\n".encode("utf-32"),
        "# -*- coding: latin-1 -*-\ndemo  # \xe4\n".encode("latin-1"),
        "demo  # \xe4\n".encode(),
    ],
)
def test_encodings_of_requirements(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes(data)
    assert shown(path) == ["demo"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"demo  # \xe4\n", "it is not UTF-8"),
        (b"# coding: klingon\ndemo\n", "unknown encoding: klingon"),
        (b"# coding: ascii\n# \xe4\n", "it is not ASCII"),
    ],
)
def test_encodings_that_do_not_fit(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes(data)
    with pytest.raises(Refused, match=problem):
        read_wanted(path)


def test_white_space_and_equals_signs_as_pip_takes_them(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("six\n")
    (tmp_path / "limits.txt").write_text("six<2\n")
    path = tmp_path / "requirements.txt"
    path.write_text(f"-rbase.txt\n--constraint=limits.txt\n--editable  ./here\n-e.\ndemo==1.0\t--hash=sha256:{A}\n")
    found = read_wanted(path)
    assert [(each.shown, each.sha256s) for each in found.wanted] == [("six<2", frozenset()), ("demo==1.0", {A})]
    assert [line.partition(": ")[2] for line in found.left_out] == [
        "./here is no project of an index",
        ". is no project of an index",
    ]


def test_every_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("-r missing.txt\ndemo ===\n-r requirements.txt\nsix\n== 1\n")
    with pytest.raises(Refused) as caught:
        read_wanted(path)
    assert caught.value.problems == (
        f"{tmp_path}/missing.txt cannot be read: No such file or directory",
        f"{path}, line 2: 'demo ===' is no requirement",
        f"{path} names itself",
        f"{path}, line 5: '== 1' is no requirement",
    )


def test_urls_are_shown_without_credentials_and_lists_behind_them_are_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    url = "https://user:secret@example.org"
    path.write_text(f"a @ {url}/a.whl\n-e git+{url}/b.git\n{url}/c.whl\n")
    assert len(read_wanted(path).left_out) == 3
    assert "secret" not in " ".join(read_wanted(path).left_out)
    path.write_text(f"-r {url}/more.txt\n--constraint={url}/limits.txt\n")
    with pytest.raises(Refused) as caught:
        read_wanted(path)
    assert caught.value.problems == (
        f"{path}, line 1: https://***@example.org/more.txt is not fetched: download it, and name the file here",
        f"{path}, line 2: https://***@example.org/limits.txt is not fetched: download it, and name the file here",
    )


def test_pylock(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    path.write_text(
        f"""
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "demo"
version = "1.0"
marker = "sys_platform == 'linux'"
[packages.sdist]
name = "demo-1.0.tar.gz"
path = "somewhere/else.tar.gz"
hashes = {{sha256 = "{B}"}}
[[packages.wheels]]
url = "https://example.org/a/demo-1.0-py3-none-any.whl"
hashes = {{sha256 = "{A}"}}
[[packages]]
name = "here"
[packages.directory]
path = "."
"""
    )
    found = read_wanted(path)
    (demo,) = found.wanted
    assert (demo.shown, demo.filenames, demo.sha256s) == (
        "demo==1.0",
        {"demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl"},
        {A, B},
    )
    assert str(demo.marker) == 'sys_platform == "linux"'
    assert found.left_out == (f"{path}: here does not come from an index",)


def test_uv(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_text(
        f"""
version = 1
requires-python = ">=3.11"
[[package]]
name = "mine"
version = "0.1"
source = {{ virtual = "." }}
[[package]]
name = "demo"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}
sdist = {{ url = "https://example.org/demo-1.0.tar.gz", hash = "sha256:{B}", size = 1 }}
wheels = [{{ url = "https://example.org/demo-1.0%2Bl-py3-none-any.whl", hash = "sha256:{A}", size = 1 }}]
[[package]]
name = "cloned"
version = "1.0"
source = {{ git = "https://example.org/cloned?rev=1" }}
"""
    )
    found = read_wanted(path)
    (demo,) = found.wanted
    assert demo.filenames == {"demo-1.0.tar.gz", "demo-1.0+l-py3-none-any.whl"}
    assert found.left_out == (f"{path}: cloned does not come from an index",)


def test_the_lock_of_a_script(tmp_path: Path) -> None:
    path = tmp_path / "run.py.lock"
    path.write_text(
        """
version = 1
[manifest]
requirements = [{ name = "windows", marker = "sys_platform == 'win32'" }, { name = "demo" }]
[[package]]
name = "demo"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "windows"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
"""
    )
    (target,) = targets((), ["manylinux_2_28_x86_64"])
    assert [each.shown for each in read_wanted(path).wanted if target.wants(each)] == ["demo==1.0"]


def test_markers_of_uv_stand_at_its_dependencies(tmp_path: Path) -> None:
    """A package is wanted where one of them holds. All extras are wanted."""
    path = tmp_path / "uv.lock"
    locked = "".join(
        f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "https://pypi.org/simple" }}\n'
        for name, version in (
            ("windows", "1"), ("both", "1"), ("several", "1"), ("several", "2"), ("everywhere", "1"),
            ("optional", "1"), ("grouped", "1"), ("leading", "1"),
        )
    )  # fmt: skip
    path.write_text(
        """
[manifest]
requirements = [{ name = "leading", marker = "sys_platform == 'linux'" }]
[manifest.dependency-groups]
more = [{ name = "both", marker = "sys_platform == 'linux'" }]
[[package]]
name = "mine"
version = "0.1"
source = { virtual = "." }
dependencies = [
    { name = "windows", marker = "sys_platform == 'win32'" },
    { name = "both", marker = "sys_platform == 'win32'" },
    { name = "several", version = "1", marker = "python_version < '3.12'" },
    { name = "several", version = "2", marker = "python_version >= '3.12'" },
    { name = "everywhere", marker = "sys_platform == 'win32'" },
    { name = "everywhere" },
]
[package.optional-dependencies]
cpu = [{ name = "optional", marker = "sys_platform == 'win32' and extra == 'extra-4-mine-cpu'" }]
[package.dev-dependencies]
dev = [{ name = "grouped", marker = "sys_platform == 'win32'" }]
"""
        + locked
    )
    (target,) = targets(("3.12",), ["manylinux_2_28_x86_64"])
    found = [each.shown for each in read_wanted(path).wanted if target.wants(each)]
    assert found == ["both==1", "several==2", "everywhere==1", "optional==1", "leading==1"]


def test_poetry(tmp_path: Path) -> None:
    path = tmp_path / "poetry.lock"
    path.write_text(
        f"""
[[package]]
name = "Demo"
version = "1.0"
markers = "python_version < '4'"
files = [{{file = "demo-1.0-py3-none-any.whl", hash = "sha256:{A}"}}]
[[package]]
name = "older"
version = "2.0"
[[package]]
name = "cloned"
version = "1.0"
[package.source]
type = "git"
[metadata.files]
older = [{{file = "older-2.0.tar.gz", hash = "sha256:{B}"}}]
"""
    )
    found = read_wanted(path)
    assert [(each.shown, each.filenames) for each in found.wanted] == [
        ("demo==1.0", {"demo-1.0-py3-none-any.whl"}),
        ("older==2.0", {"older-2.0.tar.gz"}),
    ]
    assert found.left_out == (f"{path}: cloned does not come from an index",)


def test_packages_of_extras_and_groups_are_wanted(tmp_path: Path) -> None:
    """A lock is for all of its users."""
    poetry, pylock = tmp_path / "poetry.lock", tmp_path / "pylock.toml"
    poetry.write_text(
        "[[package]]\nname = 'doclib'\nversion = '1.0'\noptional = true\nmarkers = \"extra == 'docs'\"\n"
        "[[package]]\nname = 'other'\nversion = '1.0'\nmarkers = \"extra == 'unheard'\"\n"
        "[extras]\ndocs = ['doclib']\n"
    )
    pylock.write_text(
        "lock-version = '1.0'\ncreated-by = 'test'\nextras = ['docs']\ndependency-groups = ['dev']\npackages = [\n"
        + "".join(
            f"{{name = '{name}', version = '1.0', marker = \"{marker}\", wheels = [{{name = '{name}-1.0-py3-none-any.whl', "
            f"url = 'https://example.org/', hashes = {{sha256 = '{A}'}}}}]}},\n"
            for name, marker in (
                ("doclib", "'docs' in extras"),
                ("devlib", "'dev' in dependency_groups or 'docs' in extras"),
                ("other", "'unheard' in extras"),
            )
        )
        + "]\n"
    )
    (target,) = targets((), ())
    for path, expected in ((poetry, ["doclib"]), (pylock, ["doclib", "devlib"])):
        assert [each.project for each in read_wanted(path).wanted if target.wants(each)] == expected


def test_pipfile(tmp_path: Path) -> None:
    path = tmp_path / "Pipfile.lock"
    path.write_text(
        json.dumps(
            {
                "_meta": {},
                "default": {
                    "demo": {"version": "==1.0", "hashes": [f"sha256:{A}"], "markers": "python_version >= '3'"}
                },
                "develop": {"six": {"version": "==1.17.0"}, "cloned": {"git": "https://example.org/cloned"}},
                "docs": {"idna": {"version": "==3.10"}},
            }
        )
    )
    found = read_wanted(path)
    assert [(each.shown, each.sha256s) for each in found.wanted] == [
        ("demo==1.0", {A}),
        ("six==1.17.0", set()),
        ("idna==3.10", set()),
    ]
    assert found.left_out == (f"{path}: cloned does not come from an index",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", "not = [toml"),
        ("uv.lock", "[[package]]\nversion = '1'\nsource = {registry = 'r'}\n"),
        ("poetry.lock", "[[package]]\nname = 'demo'\nversion = '?'\n"),
        ("Pipfile.lock", "[]"),
        ("Pipfile.lock", "{"),
        ("pylock.toml", "lock-version = '9.0'\ncreated-by = 'test'\npackages = []\n"),
        ("pylock.dev.toml", ""),
    ],
)
def test_a_broken_lock_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(Refused, match=f"{name} is no valid {name}: "):
        read_wanted(path)


def test_a_lock_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"uv\.lock cannot be read: No such file"):
        read_wanted(tmp_path / "uv.lock")
