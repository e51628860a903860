"""The settings of the library alone: an engine needs no more, and a program may add its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest

from pkgindex_core.config import Settings, load_settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Refused
from pkgindex_core.options import option, options_of


class OwnSettings(Settings, frozen=True, kw_only=True):
    greeting: Annotated[str, option("What the program says first.", secret=True)] = "hello"


def test_what_only_a_server_has_is_no_option_of_the_library(tmp_path: Path) -> None:
    assert load_settings(Settings, environ={}, flags={"data": str(tmp_path)}).threads == 8
    with pytest.raises(Refused, match="unknown variable PKGINDEX_REALM"):
        load_settings(Settings, environ={"PKGINDEX_REALM": "here"})


async def test_a_program_adds_its_options_and_opens_an_engine_with_all_of_them(tmp_path: Path) -> None:
    environ = {"PKGINDEX_GREETING": "hush", "PKGINDEX_STORE": "memory://", "PKGINDEX_THREADS": "1"}
    settings = load_settings(OwnSettings, environ=environ, flags={"data": str(tmp_path)})
    assert (settings.greeting, settings.threads) == ("hush", 1)
    assert {one.key for one in options_of(OwnSettings)} - {one.key for one in options_of(Settings)} == {"greeting"}
    assert "OwnSettings(" in repr(settings)
    assert "hush" not in repr(settings)
    async with Engine.open(settings, mirrors=False) as engine:
        assert engine.settings is settings
