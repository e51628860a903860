"""Writes a configuration as `pkgindex-mirror.toml`. The file that it makes is read as an equal configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pkgindex_core.errors import Refused
from pkgindex_mirror.bandersnatch.deviations import DEVIATIONS, STRICT
from pkgindex_mirror.bandersnatch.mirror_settings import COMPAT
from pkgindex_mirror.bandersnatch.options import MIRROR_OPTIONS, S3_OPTIONS, S3_PARAMETER, MirrorOption
from pkgindex_mirror.bandersnatch.plugins import content
from pkgindex_mirror.bandersnatch.proxies import FROM_ENVIRONMENT
from pkgindex_mirror.bandersnatch.reading import ExaminedConfiguration, usable
from pkgindex_mirror.bandersnatch.toml_form import ENABLED, toml_table
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration, S3Settings, plain


def migrated(examined: ExaminedConfiguration) -> str:
    """The text of a TOML file with the values that differ from the defaults, each below its meaning.

    A proxy of the environment stays in the environment. Raises `Refused` if the configuration has errors.
    """
    configuration = usable(examined).configuration
    tables = [toml_table(("mirror",), *_mirror(examined))]
    if configuration.s3 is not None:
        tables.append(toml_table(("s3",), *_s3(configuration.s3)))
    tables += [toml_table(*each) for each in _filters(configuration)]
    head = f"# The configuration of {examined.path.name}, written by `pkgindex-mirror config migrate`."
    return "\n\n".join([head, *("\n".join(table) for table in tables)]) + "\n"


def _mirror(examined: ExaminedConfiguration) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    configuration = examined.configuration
    keys, meanings = _differing(MIRROR_OPTIONS, configuration)
    if examined.origins.get("proxy", "").startswith(FROM_ENVIRONMENT):
        keys.pop("proxy", None)
    if configuration.compat:
        words = configuration.compat
        keys[COMPAT] = STRICT if words == set(DEVIATIONS) else sorted(words)
        meanings[COMPAT] = "The deviations from bandersnatch that are switched back."
    return keys, meanings


def _s3(settings: S3Settings) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    keys, meanings = _differing(S3_OPTIONS, settings)
    keys.update({f"{S3_PARAMETER}{name}": text for name, text in settings.parameters.items()})
    return keys, meanings


def _differing(options: tuple[MirrorOption, ...], settings: object) -> tuple[dict[str, Any], dict[str, str]]:
    """The keys with values other than the defaults, and the meaning of each."""
    keys: dict[str, Any] = {}
    meanings: dict[str, str] = {}
    for option in options:
        value = getattr(settings, option.field)
        if value != (option.kind.read(option.default) if option.default else ""):
            keys[option.key] = value
            meanings[option.key] = option.meaning
    return keys, meanings


def _filters(configuration: MirrorConfiguration) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if configuration.plugins:
        yield ("filters",), {ENABLED: configuration.plugins}
    for section, keys in configuration.sections.items():
        if section == ENABLED:
            raise Refused(f"the section [{ENABLED}] has no place in a TOML file", hint="rename or remove it")
        yield ("filters", section), {key: _value(section, key, text) for key, text in keys.items()}


def _value(section: str, key: str, text: str) -> Any:
    kind = content(section, key)
    if kind is not None and kind != "text":
        return text.split("\n") if text else []
    value = plain(text)
    return value if str(value) == text else text
