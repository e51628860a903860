"""Reads `entry_points.txt`, and checks the part of it that installers use (entry points specification, "File format").

The names of scripts become the names of files in a `bin` directory, so they may not be paths.
"""

from __future__ import annotations

import configparser
import re

from pkgindex_core.formats.archives.member_names import shown
from pkgindex_core.formats.upload_rules import Findings

_SCRIPT = re.compile(r"[\w.-]+")
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")


def _parser() -> configparser.RawConfigParser:
    return _CaseSensitive(delimiters=("=",), strict=True, default_section="")


class _CaseSensitive(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read_entry_points(data: bytes) -> dict[str, dict[str, str]]:
    """The entry points by group and name; never fails, and is empty for a malformed file."""
    parser = _parser()
    try:
        parser.read_string(data.decode(errors="replace"))
    except configparser.Error:
        return {}
    return {group: dict(parser.items(group)) for group in parser.sections()}


def check_entry_points(data: bytes, findings: Findings) -> None:
    """Refuse a malformed file, and script names that could be paths."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        findings.refuse("entry_points.txt is not UTF-8")
        return
    parser = _parser()
    try:
        parser.read_string(text, source="entry_points.txt")
    except configparser.Error as error:
        findings.refuse(f"entry_points.txt cannot be read: {shown(str(error).splitlines()[0])}")
        return
    for group in _SCRIPT_GROUPS:
        if parser.has_section(group):
            for script in parser.options(group):
                if not _SCRIPT.fullmatch(script) or script in {".", ".."}:
                    findings.refuse(f"entry_points.txt has a script whose name could be a path: {shown(script)}")
