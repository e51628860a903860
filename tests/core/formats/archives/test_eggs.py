"""Eggs that are shell scripts too: bdist_egg wrote them for the entry points called `eggsecutable`."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import Inspection
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.testing.wheels import core_metadata, zip_of

METADATA = core_metadata("tool", "1.0", metadata_version="1.0")
SCRIPT = b"""#!/bin/sh
if [ `basename $0` = "tool-1.0-py2.3.egg" ]
then exec python2.3 -c "import sys, os; sys.path.insert(0, os.path.abspath('$0'))" "$@"
else
\techo $0 is not the correct name for this egg file.
fi
"""


def egg(before: bytes) -> bytes:
    """An egg behind other bytes, with positions that count them: as bdist_egg appends it to its script."""
    buffer = io.BytesIO(before)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("tool.py", b"x = 1\n")
        archive.writestr("EGG-INFO/PKG-INFO", METADATA)
    return buffer.getvalue()


def inspect(data: bytes, tmp_path: Path, filename: str = "tool-1.0-py2.3.egg") -> Inspection:
    path = tmp_path / "upload"
    path.write_bytes(data)
    return inspect_archive(path, parse_upload_filename(filename, LENIENT), rules=LENIENT)


def test_a_shell_script_before_the_members_is_taken_and_told(tmp_path: Path) -> None:
    found = inspect(egg(SCRIPT), tmp_path)
    assert (found.metadata, found.names) == (METADATA, {"tool.py", "EGG-INFO/PKG-INFO"})
    assert found.warnings == ("the egg begins with a shell script",)
    assert inspect(egg(b""), tmp_path).warnings == ()


@pytest.mark.parametrize(
    "before",
    [
        b"\n",
        b"MZ\x90\0" * 64,
        SCRIPT[1:],
        SCRIPT[:-1],
        SCRIPT + b"\0\n",
        SCRIPT + b"PK\x03\x04\n",
        SCRIPT + "é\n".encode(),
        SCRIPT + b"\r\n",
        SCRIPT + b"#" * 4096 + b"\n",
        b"#!/usr/bin/python\n",
        zip_of({"other.py": b""})[:40],
        SCRIPT + zip_of({"other.py": b""})[:40],
    ],
)
def test_other_bytes_before_the_members_are_refused(tmp_path: Path, before: bytes) -> None:
    with pytest.raises(Refused, match="before or between"):
        inspect(egg(before), tmp_path)


def test_bytes_between_the_members_of_such_an_egg_are_refused(tmp_path: Path) -> None:
    good = egg(SCRIPT)
    place = good.index(b"PK\x03\x04", len(SCRIPT) + 4)
    with pytest.raises(Refused, match="before or between"):
        inspect(good[:place] + b"x" + good[place:], tmp_path)
    # The script again, which the positions do not count.
    with pytest.raises(Refused, match="before or between"):
        inspect(SCRIPT + good, tmp_path)


@pytest.mark.parametrize("filename", ["tool-1.0-py3-none-any.whl", "tool-1.0.zip"])
def test_other_zips_may_not_begin_with_a_script(tmp_path: Path, filename: str) -> None:
    with pytest.raises(Refused, match="before or between"):
        inspect(egg(SCRIPT), tmp_path, filename)
