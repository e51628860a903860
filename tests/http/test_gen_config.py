"""The files of `gen-config` for systemd, Docker and Kubernetes pass the checkers of their own programs, and say what the settings say.

`systemd-analyze` is of the system; hadolint, check-jsonschema and kubernetes-validate are distributions (the extra `test`). A test whose
checker is missing is skipped. nginx runs in `test_made_nginx`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.errors import Refused
from pkgindex_http.cli import main
from pkgindex_http.deploying.rendering import docker_text, nginx_word, systemd_command_word, systemd_word, yaml_text
from tests.clients.running import clean_environment
from tests.directory import PATH, free_port

ROOT = Path(__file__).parents[2]
KINDS = {
    "nginx": ("nginx.conf",),
    "systemd": ("pkgindex.service", "pkgindex.socket"),
    "docker": ("Dockerfile", "compose.yaml"),
    "kubernetes": ("kubernetes.yaml",),
}
OUTSIDE = ("--outside-url", "https://packages.example.com")
REMOTE = ("--store", "postgresql://anna:geheim@db/index", "--blobs", "s3://bucket/prefix")
VARIABLES = {
    "PKGINDEX_OUTSIDE_URL": "https://packages.example.com",
    "PKGINDEX_REALM": "odd $HOME 100% 'text'",
    "PKGINDEX_MAX_UPLOAD_BYTES": "3GiB",
    "PKGINDEX_ROOT_PASSWORD": "geheim",
    "PKGINDEX_PLUGINS__MIRROR__USER_AGENT": "geheim",
    "PKGINDEX_CREDENTIALS_PACKAGES_EXAMPLE_ORG": "anna:geheim",
    "PKGINDEX_UPSTREAM": "https://anna:geheim@packages.example.org/simple/",
}


def made(kind: str, *words: str, **variables: str) -> Result:
    return CliRunner().invoke(main, ["gen-config", kind, *words], env=variables)


def written(place: Path, kind: str, *words: str, **variables: str) -> dict[str, Path]:
    """Write the files of a kind into a directory; the files by name."""
    result = made(kind, *words, "--output", str(place), **variables)
    assert result.exit_code == 0, result.output
    return {name: place / name for name in KINDS[kind]}


def checker(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{PATH}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def passes(*words: str | Path) -> None:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, done.stderr), done.stdout + done.stderr


def fails(*words: str | Path) -> None:
    """The checker notices something: it is no checker otherwise."""
    assert subprocess.run([*map(str, words)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("words", [(), REMOTE], ids=["local", "remote stores"])
class TestCheckers:
    def test_systemd_verifies_the_units(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        program = checker("systemd-analyze")
        data = ("--data", str(tmp_path / "odd 100% $data"))
        units = written(tmp_path, "systemd", *data, *words, **VARIABLES)
        passes(program, "verify", *units.values())
        said = subprocess.run([program, "verify", *units.values()], capture_output=True, text=True, check=True).stderr
        assert [line for line in said.splitlines() if str(tmp_path) in line or "pkgindex" in line] == []
        service = units["pkgindex.service"]
        service.write_text(service.read_text().replace("ExecStart=/", "ExecStart=/nowhere/"))
        fails(program, "verify", service)

    def test_hadolint_accepts_the_dockerfile(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        program = checker("hadolint")
        file = written(tmp_path, "docker", *words, **VARIABLES)["Dockerfile"]
        passes(program, file)
        file.write_text(file.read_text().replace("pip install --no-cache-dir", "pip install"))
        fails(program, file)

    def test_the_schema_accepts_the_compose_file(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        program = checker("check-jsonschema")
        file = written(tmp_path, "docker", *words, **VARIABLES)["compose.yaml"]
        passes(program, "--builtin-schema", "vendor.compose-spec", file)
        file.write_text(file.read_text().replace("restart:", "restarts:"))
        fails(program, "--builtin-schema", "vendor.compose-spec", file)

    def test_the_schemas_accept_the_kubernetes_file(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        program = checker("kubernetes-validate")
        (tmp_path / "pkgindex.toml").write_text("")
        config = ("--config", str(tmp_path / "pkgindex.toml"))
        file = written(tmp_path, "kubernetes", *words, *config, **VARIABLES)["kubernetes.yaml"]
        passes(program, "--strict", file)
        text = file.read_text()
        assert ("kind: Deployment" in text, "kind: StatefulSet" in text) == (bool(words), not words)
        file.write_text(text.replace("readinessProbe:", "readyProbe:"))
        fails(program, "--strict", file)


def started_by(unit: str) -> tuple[list[str], dict[str, str]]:
    """The command and the variables of a unit, unescaped as systemd does it."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    command = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line)]
    lines = re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)
    (values,) = [[word.replace("%%", "%") for line in lines for word in shlex.split(line)]]
    return command, dict(value.split("=", 1) for value in values)


def test_the_command_of_the_unit_starts_a_server_with_the_settings(tmp_path: Path) -> None:
    port = free_port()
    data = tmp_path / "odd 100% $data"
    variables = {name: value for name, value in VARIABLES.items() if "geheim" not in value}
    unit = written(tmp_path, "systemd", "--data", str(data), "--port", str(port), "--workers", "2", **variables)[
        "pkgindex.service"
    ].read_text()
    command, environment = started_by(unit)
    assert environment == {**variables, "PKGINDEX_PORT": str(port), "PKGINDEX_WORKERS": "2"}
    assert Path(command[0]).is_absolute()
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.settimeout(60)
    notices.bind(str(tmp_path / "notify"))
    env = clean_environment() | environment | {"PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (
        notices,
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == f"{VARIABLES['PKGINDEX_OUTSIDE_URL']}/"
            assert "READY=1" in notices.recv(4096).decode().splitlines()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/+live") as answer:
                assert answer.status == 200
            assert (data / "index.sqlite").exists()
        finally:
            process.terminate()
    assert process.returncode == 0


def test_the_unit_may_write_where_the_stores_are_and_nowhere_else() -> None:
    def places(*words: str, **variables: str) -> list[str]:
        text = made("systemd", *words, **variables).stdout
        return re.findall(r"^(?:ReadWritePaths|StateDirectory|ProtectHome)=.*$", text, re.MULTILINE)

    assert places("--data", "/var/lib/pkgindex")[:1] == ["StateDirectory=pkgindex"]
    assert places("--data", "/srv/index")[:1] == ["ReadWritePaths=/srv/index"]
    assert places("--data", "/srv/index", "--blobs", "file:///mnt/blobs", "--store", "sqlite:///mnt/fast/index.sqlite")[:3] == [
        "ReadWritePaths=/mnt/blobs",
        "ReadWritePaths=/mnt/fast",
        "ReadWritePaths=/srv/index",
    ]  # fmt: skip
    assert "ProtectHome=read-only" in places("--data", "/home/anna/index")


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_has_a_secret(kind: str) -> None:
    result = made(kind, *REMOTE, **VARIABLES)
    assert result.exit_code == 0, result.output
    assert "geheim" not in result.output
    if kind != "nginx":
        for name in ("PKGINDEX_STORE", *(name for name, value in VARIABLES.items() if "geheim" in value)):
            assert name in result.stdout or kind == "docker", name


@pytest.mark.parametrize("kind", ["systemd", "docker", "kubernetes"])
def test_variables_of_the_clients_of_stores_are_named(kind: str) -> None:
    variables = {
        "AWS_SECRET_ACCESS_KEY": "geheim",
        "AWS_ENDPOINT_URL": "https://s3.example.com",
        "PGPASSWORD": "geheim",
    }
    far, here = made(kind, *REMOTE, **variables).stdout, made(kind, **variables).stdout
    for name, value in variables.items():
        assert (name in far, value in far, name in here) == (True, False, False), name


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_printed_or_written_and_never_replaced_unasked(tmp_path: Path, kind: str) -> None:
    printed = made(kind, *OUTSIDE).stdout
    files = written(tmp_path, kind, *OUTSIDE)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    texts = {name: path.read_text() for name, path in files.items()}
    if len(texts) == 1:
        assert [printed] == list(texts.values())
    else:
        assert printed == "\n".join(f"# file: {name}\n{text}" for name, text in texts.items())
    *others, last = files.values()
    for path in others:
        path.unlink()
    last.write_text("mine")
    refused = made(kind, *OUTSIDE, "--output", str(tmp_path))
    assert (refused.exit_code, f"{last} exists" in refused.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == [last.name], "nothing was written"
    assert last.read_text() == "mine"
    assert made(kind, *OUTSIDE, "--output", str(tmp_path), "--force").exit_code == 0
    assert {name: path.read_text() for name, path in files.items()} == texts


def test_one_file_may_have_any_name_and_several_need_a_directory(tmp_path: Path) -> None:
    assert made("kubernetes", "--output", str(tmp_path / "index.yaml")).exit_code == 0
    assert (tmp_path / "index.yaml").read_text().startswith("# pkgindex in Kubernetes")
    refused = made("systemd", "--output", str(tmp_path / "unit"))
    assert (refused.exit_code, "name a directory" in refused.stderr) == (1, True)
    nowhere = made("kubernetes", "--output", str(tmp_path / "no/such/place"))
    assert (nowhere.exit_code, "No such file" in nowhere.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ((), {}, "outside_url is not set"),
        (("--outside-url", "https://x.example/pypi"), {}, 'mount = "/pypi"'),
        (OUTSIDE, {"PKGINDEX_MOUNT": "/pypi"}, "the server answers below /pypi"),
        ((*OUTSIDE, "--certificate", "/etc/$x.pem"), {}, "cannot be written in nginx's configuration"),
    ],
)
def test_what_nginx_cannot_be_told_is_an_error(words: tuple[str, ...], variables: dict[str, str], said: str) -> None:
    result = made("nginx", *words, **variables)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("quote", "value", "expected"),
    [
        (nginx_word, "/srv/a b/", '"/srv/a b/"'),
        (systemd_word, 'A=a "b" \\c %d $e', '"A=a \\"b\\" \\\\c %%d $e"'),
        (systemd_word, "100%", "100%%"),
        (systemd_command_word, "a $b", '"a $$b"'),
        (systemd_command_word, "$b", '"$$b"'),
        (yaml_text, "no", '"no"'),
        (yaml_text, 'ä "b": c', '"ä \\"b\\": c"'),
        (docker_text, 'a $b "c" \\', '"a \\$b \\"c\\" \\\\"'),
    ],
)
def test_values_are_quoted_as_their_format_wants_it(quote: Any, value: str, expected: str) -> None:
    assert quote(value) == expected


@pytest.mark.parametrize("quote", [nginx_word, systemd_word, docker_text])
def test_a_line_cannot_be_smuggled_in(quote: Any) -> None:
    with pytest.raises(Refused, match="cannot be written"):
        quote("a\nExecStartPre=/bin/evil")
