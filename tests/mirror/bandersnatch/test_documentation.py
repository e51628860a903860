"""The tables of the documentation are those of the code, and its examples are sound.

The tables are written by this test: `REGENERATE=1 pytest tests/mirror/bandersnatch/test_documentation.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path

import pytest

from pkgindex_mirror.bandersnatch.deviations import DEVIATIONS
from pkgindex_mirror.bandersnatch.legacy import OLD_PLUGINS, OLD_SECTIONS, RETIRED
from pkgindex_mirror.bandersnatch.morgan import parse_morgan
from pkgindex_mirror.bandersnatch.options import MIRROR_OPTIONS, OTHER_SPELLINGS, S3_OPTIONS, S3_PARAMETER, MirrorOption
from pkgindex_mirror.bandersnatch.plugins import ANY_KEY, FILTERS
from tests.mirror.bandersnatch.files import examined, sound

PAGE = Path(__file__).parents[3] / "pkgindex_mirror/bandersnatch/README.md"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def option(each: MirrorOption) -> tuple[str, ...]:
    default = f"`{each.default}`" if each.default else "none"
    known = "" if each.known_to_bandersnatch else " bandersnatch does not know it."
    return f"`{each.key}`", each.kind.shown, default, f"{each.meaning}{known}"


def mirror_keys() -> str:
    compat = ("`compat`", "words", "none", "The [deviations](#deviations-and-the-switch-back) that are switched back. bandersnatch does not know it.")  # fmt: skip
    return table(("key", "value", "default", "meaning"), [*map(option, MIRROR_OPTIONS), compat])


def other_spellings() -> str:
    return table(("key", "value", "default", "meaning"), map(option, OTHER_SPELLINGS))


def s3_keys() -> str:
    further = (f"`{S3_PARAMETER}NAME`", "a text", "none", "The argument NAME of writing requests, such as `ServerSideEncryption`.")  # fmt: skip
    return table(("key", "value", "default", "meaning"), [*map(option, S3_OPTIONS), further])


def filters() -> str:
    def places(pairs: tuple[tuple[str, str], ...]) -> str:
        return ", ".join(f"`[{section}]` {'paths' if key == ANY_KEY else f'`{key}`'}" for section, key in pairs)

    rows = (
        (f"`{name}`", each.stage.replace("_", " "), places(each.needs) or "none", places(each.takes), each.meaning)
        for name, each in FILTERS.items()
    )
    return table(("filter", "judges", "needs", "takes too", "meaning"), rows)


def deviations() -> str:
    return table(("word", "here", "in bandersnatch"), ((f"`{word}`", each.ours, each.theirs) for word, each in DEVIATIONS.items()))  # fmt: skip


def old_names() -> str:
    rows = [
        *((f"`[{old}]`", f"`[{new}]`") for old, new in OLD_SECTIONS.items()),
        *((f"`{old}`", f"`{new}`") for old, new in OLD_PLUGINS.items()),
        *((f"`{key}` in `[mirror]`", advice) for key, advice in RETIRED.items()),
    ]
    return table(("old", "today"), rows)


@pytest.mark.parametrize(
    "make", [mirror_keys, other_spellings, s3_keys, filters, deviations, old_names], ids=lambda make: make.__name__
)
def test_the_table_is_that_of_the_code(make: Callable[[], str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    name = make.__name__.replace("_", " ")
    between = re.compile(rf"(?<=^<!-- {name}: begin -->\n).*?(?=^<!-- {name}: end -->$)", re.MULTILINE | re.DOTALL)
    (written,) = between.findall(text)
    expected = f"{make()}\n"
    if os.environ.get("REGENERATE"):
        PAGE.write_text(between.sub(lambda _: expected, text), encoding="utf-8")
        return
    assert written == expected, "run: REGENERATE=1 pytest tests/mirror/bandersnatch/test_documentation.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_examples_are_sound(tmp_path: Path) -> None:
    configuration, morgan = blocks("ini")
    assert sound(examined(tmp_path, configuration)).plugins == ("allowlist_project",)
    assert len(parse_morgan(morgan.encode()).requirements) == 4
    (toml,) = blocks("toml")
    assert sound(examined(tmp_path, toml, name="x.toml")).sections.text("latest_release", "keep") == "3"


def test_the_program_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("python")
    (tmp_path / "bandersnatch.conf").write_text(blocks("ini")[0])
    with chdir(tmp_path):
        exec(compile(program, "program", "exec"), {})
    assert capsys.readouterr().out == "file:///srv/pypi ('allowlist_project',)\n('requests', 'numpy')\n"
