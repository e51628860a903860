"""Lines of policies: what they say, which one decides, and what is refused."""

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.policing.lines import candidates, parsed_lines, policy_lines, read_server_policies
from pkgindex_core.rules.policing.waiting import CooldownSpan

LINES = (
    "cooldown 7d",
    "cooldown off for acme-*",
    "cooldown warn 1d for acme-risky",
    "cooldown PT36H by first-seen for numpy>=2,<3, Django",
    "cooldown 30d for a*",
)


@pytest.mark.parametrize(
    ("project", "version", "text"),
    [
        ("requests", "1.0", LINES[0]),
        ("acme-tool", "1.0", LINES[1]),
        ("acme-risky", "1.0", LINES[2]),
        ("numpy", "2.1", LINES[3]),
        ("numpy", "1.26", LINES[0]),
        ("numpy", "not a version", LINES[0]),
        ("numpy", "9" * 5000, LINES[0]),
        ("django", "5.0", LINES[3]),
        ("aiohttp", "3", LINES[4]),
    ],
)
def test_the_most_specific_line_decides(project: str, version: str, text: str) -> None:
    line = candidates(parsed_lines(LINES), "cooldown", ProjectName(project)).decisive(version)
    assert line is not None
    assert line.text == text


def test_of_equal_lines_the_later_decides() -> None:
    line = candidates(parsed_lines(("cooldown 7d", "cooldown 3d")), "cooldown", ProjectName("x")).decisive("1")
    assert line is not None
    assert line.value == CooldownSpan(3 * 86_400)


def test_a_line_has_a_mode_and_a_value() -> None:
    off, warn = parsed_lines((LINES[1], LINES[2]))
    assert (off.off, off.value) == (True, None)
    assert (warn.mode, warn.value, warn.targets[0].name) == ("warn", CooldownSpan(86_400), "acme-risky")


def test_comments_and_blank_lines_are_skipped_and_lines_convert_to_themselves() -> None:
    kept = policy_lines("\n# all\ncooldown 7d   # a week\n\ncooldown off for acme-*\n")
    assert kept == ("cooldown 7d", "cooldown off for acme-*")
    assert policy_lines([*kept]) == kept


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("cooldwon 7d", "there is no rule 'cooldwon' (did you mean 'cooldown'?)"),
        ("cooldown", "cooldown needs a value (such as: cooldown 7d)"),
        ("cooldown 7 days", "'7 days' is no length of time"),
        ("cooldown 7d by guess", "'guess' is no time of a file"),
        ("cooldown off 7d", "a rule that is off has no value"),
        ("cooldown 7d for numpy @ https://example.org/x", "names no project|more than a project"),
        ("cooldown 7d for numpy[extra]", "more than a project and its versions"),
        ("cooldown 7d for acme-[ab]*", "is no pattern of project names"),
        ("nothing-after tomorrow", "is no moment"),
        ("nothing-after 1234", "is no instant"),
        ("x" * 5000, "longer than"),
    ],
)
def test_a_wrong_line_is_refused_with_what_is_wrong(line: str, problem: str) -> None:
    with pytest.raises(Refused) as raised:
        policy_lines(["cooldown 7d", line])
    (said,) = raised.value.problems
    assert any(each in said for each in problem.split("|"))


def test_a_server_has_lines_by_index_by_pattern_and_by_kind() -> None:
    server = read_server_policies(
        {"mirrors": ["cooldown 7d"], "hosted": ["cooldown 1d"], "team/*": ["cooldown 2d"], "root/pypi": ["cooldown 3d"]}
    )
    mirror = IndexConfig(name=IndexName("root/pypi"), type="mirror", mirrored=True)
    assert server.of(mirror) == ("cooldown 7d", "cooldown 3d")
    assert server.of(IndexConfig(name=IndexName("team/dev"))) == ("cooldown 1d", "cooldown 2d")


def test_a_wrong_table_is_refused_with_all_problems() -> None:
    with pytest.raises(Refused) as raised:
        read_server_policies({"pypi": ["cooldown 7d"], "root/pypi": ["cooldown x", "y"]})
    assert len(raised.value.problems) == 3
