"""What the command says: help, completion, where the server is, why it cannot start."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Refused
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.cli import main
from pkgindex_http.commands.greeting import greet
from pkgindex_http.commands.listening import cannot_listen
from pkgindex_http.commands.new_store_options import unused_options
from pkgindex_http.commands.serving import _stopping
from pkgindex_http.pasting import lines_to_paste
from pkgindex_http.settings import ServerSettings, load_settings
from tests.clients.running import clean_environment, executable
from tests.http.conftest import make_store


def helped(*words: str) -> str:
    return CliRunner().invoke(main, [*words], terminal_width=100).output


def completed(*words: str, incomplete: str) -> list[str]:
    shell = ShellComplete(main, {}, "pkgindex-serve", "_PKGINDEX_SERVE_COMPLETE")
    return [item.value for item in shell.get_completions(list(words), incomplete)]


def test_commands_stand_in_groups_and_no_summary_is_cut() -> None:
    text = helped("-h")
    assert [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        "Options:", "Serve:", "People:", "Packages:", "Moving:", "Maintenance:",
    ]  # fmt: skip
    assert "..." not in text.partition("Options:")[2]
    assert text == helped("--help")


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_explains_itself_with_h(name: str) -> None:
    assert helped(name, "-h").startswith(f"Usage: main {name} ")


def test_run_begins_with_what_is_looked_for_first() -> None:
    options = [line.split()[-2 if "-p" in line else 0] for line in helped("run", "-h").splitlines() if "--" in line]
    text = helped("run", "-h")
    assert text.index("--host") < text.index("--port") < text.index("--data") < text.index("--upstream"), options
    assert text.index("--upstream") < text.index("--outside-url") < text.index("--store")


def test_the_first_word_is_completed_and_the_options_of_run_that_may_stand_there() -> None:
    assert completed(incomplete="ind") == ["index"]
    assert completed(incomplete="--ho") == ["--host"]
    assert completed("index", incomplete="cr") == ["create"]


def test_the_lines_fit_the_host() -> None:
    here = "\n".join(lines_to_paste("http://127.0.0.1:3141"))
    assert "--trusted-host" not in here
    assert "uv publish --publish-url http://127.0.0.1:3141/legacy/ dist/*" in here
    assert "--trusted-host" not in "\n".join(lines_to_paste("https://index.example.test"))
    assert "pip install --index-url http://build-7:3141/simple/ --trusted-host build-7:3141 PACKAGE" in lines_to_paste(
        "http://build-7:3141"
    )


def test_who_listens_everywhere_is_told_the_name_of_the_machine_and_absolute_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "root-password").write_text("x\n")
    greet(ServerSettings(data=Path("data"), host="0.0.0.0"), ("0.0.0.0", 3141), None)
    said = capsys.readouterr()
    assert f"http://{socket.gethostname()}:3141/simple/ --trusted-host {socket.gethostname()}:3141" in said.err
    for command in ("twine upload --repository-url", "uv publish --publish-url"):
        where = f"http://{socket.gethostname()}:3141/legacy/"
        assert f'{command} {where} -u root -p "$(cat {tmp_path}/data/root-password)" dist/*' in said.err
    assert "without TLS" in said.err
    assert said.out == "http://0.0.0.0:3141/\n"


@pytest.mark.parametrize(
    ("error", "host", "port", "words"),
    [
        (socket.gaierror(-2, "unknown"), "nosuch.invalid", 3141, "the host name 'nosuch.invalid' is not known"),
        (OSError(errno.EADDRINUSE, "in use"), "127.0.0.1", 3141, "another program uses the port"),
        (OSError(errno.EACCES, "denied"), "127.0.0.1", 80, "ports below 1024"),
        (OSError(errno.EADDRNOTAVAIL, "no"), "10.9.9.9", 3141, "no such address"),
        (OSError(errno.ENOBUFS, "no room"), "127.0.0.1", 3141, "no room"),
    ],
)
def test_why_it_cannot_listen(error: OSError, host: str, port: int, words: str) -> None:
    problem = cannot_listen(error, host, port)
    assert words in problem.message
    assert "--port" in problem.hint or "--host" in problem.hint


async def test_data_that_is_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    for data in (place, place / "below"):
        with pytest.raises(Refused, match="it is a file, or below a file"):
            async with Engine.open(Settings(data=data)):
                pass


def test_a_user_without_a_home_directory_needs_to_say_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(Refused, match="no home directory") as caught:
        load_settings(environ={})
    assert "--data" in caught.value.hint
    monkeypatch.undo()
    assert load_settings(environ={"PKGINDEX_DATA": str(tmp_path)}).data == tmp_path


def test_a_password_is_not_asked_for_without_a_terminal(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pkgindex_http", "user", "create", "anna", "--data", tmp_path],
        input="secret-words\nsecret-words\n", start_new_session=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (
        1, "error: there is no terminal to ask for the password\nhint: pipe it in, with --password-stdin\n"
    )  # fmt: skip


def test_stopping_says_what_it_waits_for() -> None:
    assert _stopping(0) == "stopping"
    assert "1 request " in _stopping(1)
    assert "3 requests" in _stopping(3)


def test_a_taken_port_ends_the_start_with_two_lines(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = subprocess.run(
            [executable("pkgindex-serve"), "--data", tmp_path / "data", "--port", str(port)],
            env=clean_environment() | {"HOME": os.environ.get("HOME", "/")}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-2:] == [
        f"error: cannot listen on 127.0.0.1 port {port}: another program uses the port",
        "hint: stop it, or choose another port with --port (0 picks a free one)",
    ]


def uploaded(*words: str | Path, data: Path) -> tuple[int, str, str]:
    ran = CliRunner().invoke(main, ["upload", "--data", str(data), *map(str, words)])
    return ran.exit_code, ran.stdout, ran.stderr


def test_a_mistyped_data_directory_is_told_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `run`, `import` and `restore` make a store."""
    monkeypatch.chdir(tmp_path)
    wheel = build_wheel("demo", "1.0")
    (tmp_path / wheel.filename).write_bytes(wheel.data)
    commands = (
        ("user", "list"), ("user", "create", "anna", "--password-stdin"), ("user", "password", "root", "--password-stdin"),
        ("index", "list"), ("index", "create", "root/more"), ("index", "modify", "root/dev", "volatile=True"),
        ("token", "list", "root"), ("token", "create", "root"), ("upload", wheel.filename), ("explain", "demo"),
        ("history", "demo"), ("delete", wheel.filename), ("yank", wheel.filename), ("project", "delete", "demo"),
        ("backup", "place"),
    )  # fmt: skip
    before = sorted(tmp_path.iterdir())
    for words in commands:
        ran = CliRunner().invoke(main, [*words, "--data", "mistyped"], input="secret-words\n")
        assert (ran.exit_code, ran.stdout) == (1, ""), words
        assert f"error: there is no store in {tmp_path / 'mistyped'} (database: " in ran.stderr, words
        assert (
            f"hint: check --data, --store and the configuration; to make a new store use `pkgindex-serve run --data {tmp_path}/mistyped`"
            in (ran.stderr)
        ), words
        assert sorted(tmp_path.iterdir()) == before, words


def test_options_of_a_new_store_are_not_ignored_in_silence(tmp_path: Path) -> None:
    async def told(**options: str) -> list[str]:
        async with Engine.open(Settings(data=tmp_path, **options), mirrors=False) as engine:
            await engine.prepare()
            return await unused_options(engine)

    upstream = (
        "--upstream is for a new store and was not used: root/pypi mirrors https://one.example/simple/. To change it:"
    )
    password = "--root-password is for a new store and was not used: root has another password. To change it:"
    first = {"upstream": "https://one.example/simple/", "root_password": "first words"}
    assert asyncio.run(told(**first)) == []
    assert asyncio.run(told(**first)) == []
    assert asyncio.run(told()) == []
    assert asyncio.run(told(upstream="https://anna:secret@two.example/simple/", root_password="other words")) == [
        f"{upstream} pkgindex-serve index modify root/pypi mirror_url=https://two.example/simple/ --data {tmp_path}",
        f"{password} pkgindex-serve user password root --data {tmp_path}",
    ]


def test_an_upload_of_many_tells_each_files_fate(tmp_path: Path) -> None:
    dist, data = tmp_path / "dist", tmp_path / "data"
    dist.mkdir()
    make_store(data)
    good, other = build_wheel("demo", "1.0"), build_wheel("other", "1.0")
    for built in (good, other):
        (dist / built.filename).write_bytes(built.data)
    (dist / "notes.txt").write_text("no distribution")
    bad = dist / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no archive")
    status, out, err = uploaded(dist, data=data)
    assert status == 1
    assert [line.split("\t")[0::2] for line in out.splitlines()] == [
        ["refused", bad.name],
        ["published", good.filename],
        ["published", other.filename],
    ]
    assert f"error: {bad.name}: " in err
    assert "1 of 3 files refused" in err
    bad.unlink()
    status, out, _ = uploaded(dist / good.filename, dist / other.filename, data=data)
    assert (status, [line.split("\t")[0] for line in out.splitlines()]) == (0, ["unchanged", "unchanged"])
    empty = tmp_path / "empty"
    empty.mkdir()
    status, out, err = uploaded(dist, empty, tmp_path / "nowhere.whl", data=data)
    assert (status, out) == (1, "")
    assert "has no distribution" in err
    assert "there is no file" in err


def test_a_project_is_deleted_with_its_name(tmp_path: Path) -> None:
    """What is left after the last version goes too, and the index shows its bases' projects of that name again."""

    def ran(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, [*words, "--data", str(tmp_path / "data")])
        return result.exit_code, result.output

    data = tmp_path / "data"
    make_store(data)
    built = build_wheel("demo", "1.0")
    (tmp_path / built.filename).write_bytes(built.data)
    assert uploaded(tmp_path / built.filename, data=data)[0] == 0
    assert ran("delete", built.filename, "--force")[0] == 0
    assert "root/dev (stage): holds" in ran("explain", "demo")[1]
    status, said = ran("project", "delete", "Demo")
    assert (status, "non-volatile index root/dev" in said, "--force" in said) == (1, True, True)
    status, said = ran("project", "delete", "Demo", "--force")
    assert (status, said) == (
        0,
        "Demo deleted from root/dev; the index now shows a project of that name if a base has one\n",
    )
    assert "root/dev (stage): holds" not in ran("explain", "demo")[1]
    assert ran("project", "delete", "demo", "--force") == (1, "error: project not found\n")
    assert ran("project", "delete", "no name!")[0] == 1


@pytest.mark.parametrize("words", [("index", "show", "root/dve"), ("explain", "demo", "--index", "root/dve")])
def test_an_index_that_does_not_exist_is_answered_with_the_one_that_was_meant(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    make_store(tmp_path / "data")
    ran = CliRunner().invoke(main, [*words, "--data", str(tmp_path / "data")])
    assert ran.exit_code == 1
    assert ran.stderr.splitlines() == ["error: no index 'root/dve'", "hint: did you mean 'root/dev'?"]


def test_every_option_that_a_hint_names_is_one_of_the_command(tmp_path: Path) -> None:
    data, built = tmp_path / "data", build_wheel("demo", "1.0")
    make_store(data)
    (tmp_path / built.filename).write_bytes(built.data)
    assert uploaded(tmp_path / built.filename, data=data)[0] == 0
    for command in (["delete", built.filename], ["project", "delete", "demo"]):
        ran = CliRunner().invoke(main, [*command, "--data", str(data)])
        assert "hint: " in ran.stderr
        named = set(re.findall(r"--[a-z-]+", ran.stderr))
        assert named
        assert all(name in helped(*[word for word in command if word in {"delete", "project"}], "-h") for name in named)
    ran = CliRunner().invoke(main, ["delete", built.filename, "-f", "--data", str(data)])
    assert ran.exit_code == 0


def test_explain_says_of_an_index_without_the_project_that_it_does_not_have_it(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    ran = CliRunner().invoke(main, ["explain", "demo", "--index", "root/dev", "--data", str(tmp_path / "data")])
    assert "root/dev (stage): does not have demo" in ran.output
    assert "joins" not in ran.output.partition("root/pypi")[0]
