"""Configurations as texts, examined as files are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from pkgindex_mirror.bandersnatch.enabling import InstalledPlugins
from pkgindex_mirror.bandersnatch.reading import ExaminedConfiguration, examine_configuration
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration

NONE_INSTALLED = InstalledPlugins()


def written(place: Path, text: str, name: str = "bandersnatch.conf") -> Path:
    path = place / name
    path.write_text(dedent(text), encoding="utf-8")
    return path


def examined(
    place: Path,
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    installed: InstalledPlugins = NONE_INSTALLED,
    name: str = "bandersnatch.conf",
) -> ExaminedConfiguration:
    """A file that is examined as it is."""
    return examine_configuration(written(place, text, name), environ or {}, installed=installed)


def mirror(place: Path, *lines: str, rest: str = "", **named: object) -> ExaminedConfiguration:
    """A file with a directory and some further lines of `[mirror]`, and further sections."""
    text = "\n".join(["[mirror]", "directory = /srv/pypi", *lines, dedent(rest)])
    return examined(place, text, **named)  # type: ignore[arg-type]  # the arguments of `examined`


def filtered(place: Path, *plugins: str, rest: str = "", compat: str = "", **named: object) -> ExaminedConfiguration:
    """A file with enabled filters, and the sections of those."""
    enabled = "\n".join(["[plugins]", "enabled =", *(f"    {plugin}" for plugin in plugins)])
    lines = [f"compat = {compat}"] if compat else []
    return mirror(place, *lines, rest=f"{enabled}\n{dedent(rest)}", **named)


def told(examined: ExaminedConfiguration, level: str) -> list[str]:
    """The notices of a level, without their advice."""
    return [str(notice) for notice in examined.notices if notice.level == level]


def sound(examined: ExaminedConfiguration) -> MirrorConfiguration:
    """A configuration about which there is nothing to say."""
    assert examined.notices == ()
    return examined.configuration
