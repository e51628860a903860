"""The options of this program that lie in `IndexConfig.options`, among those of plugins: their defaults, and what they say.

Sources and admission policies read them, nobody else, so the configuration has no fields for them. They are kept under the names that
people write. An option at its default is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import fields, replace

from pkgindex_core.models import IndexConfig, plain


class MirrorOptions(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "url": "mirror_url",
        "credentials": "mirror_credentials",
        "cache_expiry": "mirror_cache_expiry",
        "use_external_urls": "mirror_use_external_urls",
        "no_project_list": "mirror_no_project_list",
        "ignore_serial_header": "mirror_ignore_serial_header",
        "web_url_fmt": "mirror_web_url_fmt",
    },
):
    """What a mirror is set to."""

    url: str = ""
    """The upstream simple index, without credentials."""
    credentials: str = ""
    """`user:password` for the upstream's host; never shown, never logged."""
    cache_expiry: int = 1800
    """Seconds for which a page counts as fresh after the upstream was asked."""
    use_external_urls: bool = False
    """Send clients to the upstream for files that are not kept here, instead of fetching them."""
    no_project_list: bool = False
    """Never ask the upstream for its list of projects; a project is known once its page was asked for."""
    ignore_serial_header: bool = False
    """Take a page whose `X-PyPI-Last-Serial` is lower than that of the stored one (after a change of upstream)."""
    absent_statuses: tuple[int, ...] = (404, 410)
    """HTTP statuses by which the upstream says that it has no such thing. Any other refusal is trouble."""
    web_url_fmt: str = ""
    """Where a person reads about a project at the upstream; `{name}` stands for the project."""


DEFAULTS: Final[Mapping[str, Any]] = {
    "mirror_whitelist": [],
    "mirror_whitelist_inheritance": "intersection",
    **{field.encode_name: plain(field.default) for field in fields(MirrorOptions)},
}
"""What each of these options is where none is kept."""


def mirror_options(config: IndexConfig) -> MirrorOptions:
    """What a mirror is set to. Half a microsecond, so nobody has to remember it."""
    return msgspec.convert(config.options, MirrorOptions)


def whitelist(config: IndexConfig) -> Sequence[str]:
    """Normalised project names, or `*`, that may be taken from a mirror although a hosted index has them."""
    names: Sequence[str] = config.options.get("mirror_whitelist", ())
    return names


def unites_whitelists(config: IndexConfig) -> bool:
    """Whether one whitelist along the resolution order is enough to open a name. Otherwise, by an unknown word too, the first one decides."""
    return bool(config.options.get("mirror_whitelist_inheritance") == "union")


def with_options(config: IndexConfig, /, **values: Any) -> IndexConfig:
    """The index with these of its kept options changed."""
    options = {**config.options, **values}
    changed = {key: value for key, value in options.items() if key not in DEFAULTS or plain(value) != DEFAULTS[key]}
    return replace(config, options=changed)
