"""`pkgindex-mirror config check|explain|migrate`."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pkgindex_mirror.bandersnatch.options import MIRROR_OPTIONS
from pkgindex_mirror.bandersnatch.reading import DEFAULT_PATH as READ_PATH
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
from pkgindex_mirror.cli import main
from pkgindex_mirror.commands.configurations import DEFAULT_PATH, taking_configuration
from tests.mirror.bandersnatch.files import written
from tests.mirror.bandersnatch.test_migrating import EVERYTHING
from tests.mirror.bandersnatch.test_reading import GUIDE


def run(*words: str | Path, **environ: str) -> Result:
    return CliRunner().invoke(main, [*map(str, words)], env=environ)


class TestCheck:
    def test_a_sound_file(self, tmp_path: Path) -> None:
        path = written(tmp_path, GUIDE)
        done = run("config", "check", "-c", path)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"{path}: nothing to say\n")

    def test_the_file_may_stand_before_the_command(self, tmp_path: Path) -> None:
        path = written(tmp_path, GUIDE)
        assert run("--config", path, "config", "check").stderr == f"{path}: nothing to say\n"
        other = written(tmp_path, "[mirror]\n", name="other.conf")
        assert run("-c", other, "config", "check", "-c", path).exit_code == 0

    def test_warnings(self, tmp_path: Path) -> None:
        done = run("config", "check", "-c", written(tmp_path, f"{GUIDE}\n    [unknown]\n"))
        assert done.exit_code == 1
        assert done.stdout == (
            "warning: line 18, [unknown]: no filter that is known here reads this section\n"
            "    remove it, unless a plugin reads it\n"
        )
        assert done.stderr.endswith(": 1 warning\n")

    def test_errors(self, tmp_path: Path) -> None:
        done = run("config", "check", "-c", written(tmp_path, "[mirror]\nworkers = 0\n"))
        assert done.exit_code == 2
        assert done.stderr.endswith(": 2 errors\n")

    def test_a_missing_file_is_1_and_says_how_to_begin(self, tmp_path: Path) -> None:
        done = run("config", "check", "-c", tmp_path / "none.conf")
        assert done.exit_code == 1
        assert "there is no file" in done.stderr
        assert "directory = /srv/pypi" in done.stderr

    @pytest.mark.parametrize("word", ["check", "explain", "migrate"])
    def test_a_file_of_another_form_is_2(self, tmp_path: Path, word: str) -> None:
        done = run("config", word, "-c", written(tmp_path, "nothing"))
        assert done.exit_code == 2
        assert "line 1 stands before the first [section]" in done.stderr

    def test_json(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[mirror]\ndirectory = /x\nworkers = 11\n")
        done = run("config", "check", "--json", "-c", path)
        assert json.loads(done.stdout) == {
            "path": str(path),
            "status": 0,
            "notices": [
                {
                    "level": "note",
                    "where": "line 3, [mirror] workers",
                    "problem": "bandersnatch refuses more than 10 workers; here they are accepted",
                    "advice": "",
                }
            ],
        }

    def test_the_default_is_that_of_bandersnatch(self) -> None:
        assert str(READ_PATH) == DEFAULT_PATH == "/etc/bandersnatch.conf"


class TestExplain:
    def test_each_key_with_origin_and_meaning(self, tmp_path: Path) -> None:
        done = run("config", "explain", "-c", written(tmp_path, GUIDE), HTTPS_PROXY="http://user:secret@proxy:1")
        assert done.exit_code == 0
        for option in MIRROR_OPTIONS:
            assert f"\n{option.key} = " in done.stdout
            assert option.meaning in done.stdout
        assert "\nworkers = 3    (line 4)\n" in done.stdout
        assert "\nverifiers = 3    (default)\n" in done.stdout
        assert "\nproxy = http://***@proxy:1    (environment variable HTTPS_PROXY)\n" in done.stdout
        assert done.stdout.endswith(
            "Only what the filter lets pass is mirrored.\n\n"
            "allowlist_project: Only the listed projects are mirrored.\n"
            "    [allowlist] packages = requests, numpy, pandas\n"
        )

    def test_without_filters_everything_is_mirrored(self, tmp_path: Path) -> None:
        done = run("config", "explain", "-c", written(tmp_path, "[mirror]\ndirectory = /x\n"))
        assert done.stdout.endswith("No filter is enabled: everything that the upstream has is mirrored.\n")

    def test_errors_are_told_too(self, tmp_path: Path) -> None:
        done = run("config", "explain", "-c", written(tmp_path, "[mirror]\ndirectory = /x\nworkers = 0\n"))
        assert done.exit_code == 2
        assert "error: line 3, [mirror] workers: 0 is less than 1" in done.stderr

    def test_secrets_are_hidden(self, tmp_path: Path) -> None:
        text = f"{EVERYTHING}\n".replace("MD5", "md5").replace("AES256", "AES256\nconfig_param_SSECustomerKey = hush")
        done = run("config", "explain", "--json", "-c", written(tmp_path, text))
        values = {(each["section"], each["key"]): each["value"] for each in json.loads(done.stdout)["values"]}
        assert values["s3", "aws_secret_access_key"] == "(hidden)"
        assert values["s3", "config_param_SSECustomerKey"] == "(hidden)"
        assert values["s3", "config_param_ServerSideEncryption"] == "AES256"
        assert "hush" not in done.stdout

    def test_filters_are_in_the_order_in_which_they_judge(self, tmp_path: Path) -> None:
        done = run("config", "explain", "--json", "-c", written(tmp_path, EVERYTHING))
        document = json.loads(done.stdout)
        *stages, own = [each["stage"] for each in document["filters"]]
        assert own is None
        assert stages == sorted(stages, key=["project", "metadata", "release_file", "release"].index)
        (size,) = [each for each in document["filters"] if each["filter"] == "size_project_metadata"]
        assert size["settings"] == {
            "[size_project_metadata] max_package_size": "1.5 GB",
            "[allowlist] packages": "demo>=1,<2\nother",
        }
        deviations = [each["meaning"] for each in document["values"] if each["key"] == "compat"]
        assert len(deviations) == 2


class TestMigrate:
    def test_the_file_that_it_writes_is_sound_and_private(self, tmp_path: Path) -> None:
        target = tmp_path / "mirror.toml"
        done = run("config", "migrate", "-c", written(tmp_path, GUIDE), "--to", target)
        assert done.exit_code == 0
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert run("config", "check", "-c", target).exit_code == 0
        assert target.read_text() == run("config", "migrate", "-c", tmp_path / "bandersnatch.conf").stdout
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bandersnatch.conf", "mirror.toml"]

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        target = written(tmp_path, "mine", name="mirror.toml")
        done = run("config", "migrate", "-c", written(tmp_path, GUIDE), "--to", target)
        assert done.exit_code == 2
        assert "is there already" in done.stderr
        assert target.read_text() == "mine"

    @pytest.mark.parametrize(
        ("target", "problem"), [("mirror.conf", "does not end with .toml"), ("none/mirror.toml", "cannot be written")]
    )
    def test_a_place_that_will_not_do_is_refused(self, tmp_path: Path, target: str, problem: str) -> None:
        done = run("config", "migrate", "-c", written(tmp_path, GUIDE), "--to", tmp_path / target)
        assert done.exit_code == 2
        assert problem in done.stderr

    def test_errors_are_not_migrated(self, tmp_path: Path) -> None:
        done = run("config", "migrate", "-c", written(tmp_path, "[mirror]\n"))
        assert (done.exit_code, done.stdout) == (2, "")


class TestTakingAConfiguration:
    """What commands such as `mirror` get."""

    def ran(self, *words: str | Path) -> tuple[list[MirrorConfiguration], Result]:
        got: list[MirrorConfiguration] = []

        @click.command()
        @taking_configuration
        def command(configuration: MirrorConfiguration) -> None:
            got.append(configuration)

        return got, CliRunner().invoke(command, [*map(str, words)])

    def test_a_configuration_with_its_warnings(self, tmp_path: Path) -> None:
        (got,), done = self.ran("-c", written(tmp_path, "[mirror]\ndirectory = /x\nfoo = 1\nworkers = 20\n"))
        assert got.workers == 20
        assert done.stderr == "warning: line 3, [mirror] foo: there is no such key; it has no effect\n"

    @pytest.mark.parametrize(("text", "status"), [(None, 1), ("nothing", 2), ("[mirror]\n", 2)])
    def test_exit_codes_of_bandersnatch(self, tmp_path: Path, text: str | None, status: int) -> None:
        path = tmp_path / "bandersnatch.conf"
        if text is not None:
            written(tmp_path, text)
        got, done = self.ran("-c", path)
        assert (got, done.exit_code) == ([], status)
        assert "error: " in done.stderr

    def test_logging_is_configured(self, tmp_path: Path) -> None:
        log = written(
            tmp_path,
            """\
            [loggers]
            keys = root,mirror
            [handlers]
            keys =
            [formatters]
            keys =
            [logger_root]
            handlers =
            [logger_mirror]
            qualname = test_config_command
            handlers =
            level = ERROR
            """,
            name="log.conf",
        )
        logger = logging.getLogger("test_config_command")
        before = logging.root.handlers[:]
        try:
            _, done = self.ran("-c", written(tmp_path, f"[mirror]\ndirectory = /x\nlog-config = {log}\n"))
            assert done.exit_code == 0
            assert logger.level == logging.ERROR
        finally:
            logger.setLevel(logging.NOTSET)
            logging.root.handlers[:] = before

    def test_logging_that_cannot_be_configured_stops(self, tmp_path: Path) -> None:
        got, done = self.ran("-c", written(tmp_path, "[mirror]\ndirectory = /x\nlog-config = /none.conf\n"))
        assert (got, done.exit_code) == ([], 2)
        assert "the log-config /none.conf cannot be used" in done.stderr


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("[pkgindex]\ncooldown = banana\n", "cooldown = 'banana' is no time"),
        (f"[pkgindex]\ncooldown = {'9' * 400}\n", "is no time"),
        (f"[pkgindex]\nmax_file_size = {'9' * 400}GB\n", "is no size"),
        ("[pkgindex]\nlatest = -1\n", "cannot be read"),
        (f"[pkgindex]\nlatest = {'9' * 5000}\n", "cannot be read"),
        ("[pkgindex]\nlatest = \u00b2\n", "cannot be read"),
        ("[pkgindex]\nsdists = sometimes\n", "Invalid enum value 'sometimes'"),
        (
            f"[plugins]\nenabled = size_project_metadata\n[size_project_metadata]\nmax_package_size = {'9' * 400}\n",
            "is no size",
        ),
        ("[plugins]\nenabled = project_requirements\n[allowlist]\nrequirements = nowhere.txt\n", "nowhere.txt"),
    ],
)
def test_settings_with_which_no_filter_can_be_made_are_errors(tmp_path: Path, settings: str, problem: str) -> None:
    path = written(tmp_path, f"[mirror]\ndirectory = {tmp_path}\n{settings}")
    done = run("config", "check", "-c", path)
    assert done.exit_code == 2, done.output
    assert "error: filters: " in done.stdout
    assert problem in done.stdout


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 5000])
def test_a_toml_file_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    done = run("config", "check", "-c", written(tmp_path, text, name="mirror.toml"))
    assert done.exit_code == 2
    assert "no TOML" in done.stderr


def test_a_long_number_is_migrated_as_a_text(tmp_path: Path) -> None:
    path = written(tmp_path, f"[mirror]\ndirectory = /srv/pypi\n[latest_release]\nkeep = {'9' * 5000}\n")
    assert f'keep = "{"9" * 5000}"' in run("config", "migrate", "-c", path).stdout
