"""Renders the files from their templates, with each value quoted as its format wants it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pkgindex_core.errors import Refused
from pkgindex_http.deploying.deployment import Deployment

_PLAIN: Final = re.compile(r"\A[A-Za-z0-9@_./:+,~=\[\]-]+\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def rendered(names: tuple[str, ...], deployment: Deployment, **options: Any) -> Mapping[str, str]:
    """The texts of these files by name. `options`: values that are no settings of the server."""
    return {name: _environment().get_template(name).render(deployment=deployment, **options) for name in names}


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=False,  # noqa: S701 - these are no pages, and every value passes one of the filters below
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "nginx": nginx_word,
        "systemd": systemd_word,
        "systemd_command": systemd_command_word,
        "yaml": yaml_text,
        "docker": docker_text,
    }
    return made


def nginx_word(value: object) -> str:
    """A word of nginx's configuration. Raises `Refused` for what nginx would take for a variable or an escape."""
    text = str(value)
    if _CONTROL.search(text) or set(text) & set('"$\\'):
        raise Refused(f"{text!r} cannot be written in nginx's configuration", hint="choose a path of plain characters")
    return text if _PLAIN.match(text) else f'"{text}"'


def systemd_word(value: object) -> str:
    """A word of a unit: an assignment, or one of a list of paths."""
    text = _printable(value).replace("%", "%%")
    if _PLAIN.match(text.replace("%%", "")):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def systemd_command_word(value: object) -> str:
    """A word of a command of a unit, in which systemd expands variables too."""
    return systemd_word(value).replace("$", "$$")


def yaml_text(value: object) -> str:
    """A text of YAML, which has the texts of JSON."""
    return json.dumps(str(value), ensure_ascii=False)


def docker_text(value: object) -> str:
    """A quoted value of `ENV`."""
    text = _printable(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _printable(value: object) -> str:
    text = str(value)
    if _CONTROL.search(text):
        raise Refused(f"{text!r} has characters that cannot be written in the file")
    return text
