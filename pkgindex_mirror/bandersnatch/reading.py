"""Reads the configuration of a mirror: bandersnatch.conf, or the same in TOML.

    bytes ─► texts (ini_form, toml_form) ─► names of today (legacy) ─► values (mirror_settings, enabling, filter_settings)

Whatever is worth a word is a notice with its place. Notices of level error stop a run before it asks an upstream for anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.spelling import nearest
from pkgindex_mirror.bandersnatch.enabling import InstalledPlugins, enabled_plugins, installed_plugins
from pkgindex_mirror.bandersnatch.filter_settings import OTHERS, check_filters, filter_sections
from pkgindex_mirror.bandersnatch.ini_form import read_ini
from pkgindex_mirror.bandersnatch.legacy import RETIRED_SECTIONS, modernised
from pkgindex_mirror.bandersnatch.mirror_settings import MirrorValues, check_keys, read_compat
from pkgindex_mirror.bandersnatch.noticing import Noticing
from pkgindex_mirror.bandersnatch.plugins import ANY_KEY, FILTERS, OWN_SECTION, SECTIONS
from pkgindex_mirror.bandersnatch.raw_settings import RawSettings
from pkgindex_mirror.bandersnatch.toml_form import read_toml
from pkgindex_mirror.bandersnatch.values import ConfigurationNotice, Level, MirrorConfiguration

DEFAULT_PATH: Final = Path("/etc/bandersnatch.conf")
TOML_SUFFIX: Final = ".toml"
EXAMPLE: Final = """\
[mirror]
directory = /srv/pypi
master = https://pypi.org

[plugins]
enabled =
    allowlist_project

[allowlist]
packages =
    requests
    numpy
"""
"""A configuration to begin with."""


class ExaminedConfiguration(Struct, frozen=True, kw_only=True):
    """A file with all that there is to know about it."""

    path: Path
    configuration: MirrorConfiguration
    """With defaults in the place of values that are wrong. Not for a run while there are errors."""
    notices: tuple[ConfigurationNotice, ...]
    """In the order of the lines."""
    origins: Mapping[str, str]
    """Where each value of `[mirror]` comes from, by field, those of `[s3]` as `s3.region_name`: `default`, `line 7`, `environment variable HTTPS_PROXY`."""

    @property
    def errors(self) -> tuple[ConfigurationNotice, ...]:
        return tuple(notice for notice in self.notices if notice.level == "error")


def read_configuration(path: Path, environ: Mapping[str, str]) -> MirrorConfiguration:
    """Read a configuration for a run. See `examine_configuration`.

    Raises `Missing` if there is no file, and `Refused` with all errors if nothing can be mirrored with it.
    """
    return usable(examine_configuration(path, environ)).configuration


def usable(examined: ExaminedConfiguration) -> ExaminedConfiguration:
    """Return a configuration without errors. Raises `Refused` with all of them."""
    if examined.errors:
        problems = [
            f"{examined.path}: {error}{f' ({error.advice})' if error.advice else ''}" for error in examined.errors
        ]
        raise Refused(problems, hint=f"pkgindex-mirror config check -c {examined.path}")
    return examined


def examine_configuration(
    path: Path,
    environ: Mapping[str, str],
    *,
    installed: InstalledPlugins | None = None,
    into_index: bool = False,
) -> ExaminedConfiguration:
    """Read a file with all that is wrong with it. A name that ends with `.toml` is TOML, others are bandersnatch.conf.

    `installed` are the filters that others wrote; None: they are looked for. `into_index`: for a mirror in an index of a server, which
    needs no directory. Raises `Missing` if there is no file, and `Refused` if it
    cannot be read or is not of its form.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Missing(
            "configuration", str(path), message=f"there is no file {path}", hint=_how_to_begin(path)
        ) from error
    except OSError as error:
        raise Refused(
            f"{path} cannot be read: {error.strerror}", hint="name a file that can be read with -c"
        ) from error
    try:
        raw = read_toml(data) if path.suffix == TOML_SUFFIX else read_ini(data)
    except Refused as error:
        raise Refused([f"{path}: {problem}" for problem in error.problems], hint=error.hint) from error
    return understood(
        path, raw, environ, installed_plugins() if installed is None else installed, into_index=into_index
    )


def understood(
    path: Path,
    raw: RawSettings,
    environ: Mapping[str, str],
    installed: InstalledPlugins,
    *,
    into_index: bool = False,
) -> ExaminedConfiguration:
    """Make a configuration of the texts of a file."""
    noticing = Noticing(raw)
    compat = read_compat(noticing)
    noticing.raw = modernised(raw, noticing, ignored="legacy-keys" in compat)
    check_keys(noticing)
    mirror = MirrorValues(noticing, compat, environ, into_index=into_index)
    s3 = mirror.s3()
    plugins = enabled_plugins(noticing, compat, installed)
    sections = filter_sections(noticing, compat)
    check_filters(noticing, compat, plugins, sections)
    _check_sections(noticing, any(name not in FILTERS for name in plugins), backend=mirror.values["storage_backend"])
    configuration = MirrorConfiguration(**mirror.values, s3=s3, plugins=plugins, sections=sections, compat=compat)
    return ExaminedConfiguration(
        path=path, configuration=configuration, notices=noticing.notices, origins=mirror.origins
    )


def _check_sections(noticing: Noticing, has_others: bool, *, backend: str) -> None:
    """Notice unknown sections, and unknown keys of sections of filters: one notice each."""
    raw = noticing.raw
    for section, keys in raw.sections.items():
        if section == "s3" and backend != "s3":
            noticing.warning("s3", "", "this has no effect with another storage-backend than s3")
        if section == "plugins":
            for key in keys:
                if key != "enabled":
                    noticing.warning(section, key, "there is no such key; it has no effect", "remove it")
        if section in OTHERS:
            continue
        if section in RETIRED_SECTIONS:
            noticing.warning(section, "", "this section has no effect", RETIRED_SECTIONS[section])
        elif section not in SECTIONS:
            meant = nearest(section, [*SECTIONS, *OTHERS])
            advice = f"did you mean [{meant}]?" if meant else "remove it, unless a plugin reads it"
            noticing.add(
                "note" if has_others else "warning",
                section,
                "",
                "no filter that is known here reads this section",
                advice,
            )
        elif ANY_KEY not in SECTIONS[section]:
            for key in keys:
                if key not in SECTIONS[section]:
                    meant = nearest(key, SECTIONS[section])
                    advice = f"did you mean {meant!r}?" if meant else "remove it"
                    level: Level = "error" if section == OWN_SECTION else "warning"
                    noticing.add(level, section, key, "there is no such key; it has no effect", advice)


def _how_to_begin(path: Path) -> str:
    example = "\n".join(f"    {line}".rstrip() for line in EXAMPLE.splitlines())
    return f"name another file with -c FILE, or write {path}, for example:\n\n{example}"
