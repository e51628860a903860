"""The built-in options that are kept in `IndexConfig.options`, beside those of plugins, with their defaults.

Only sources, admission policies and `rules.planning` read them, so `IndexConfig` has no fields for them. They are kept under the
names that users write. An option at its default is not kept.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

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
        "history": "mirror_history",
        "use_external_urls": "mirror_use_external_urls",
        "no_project_list": "mirror_no_project_list",
        "sizes": "mirror_sizes",
        "ignore_serial_header": "mirror_ignore_serial_header",
        "web_url_fmt": "mirror_web_url_fmt",
    },
):
    """The options of a mirror."""

    url: str = ""
    """The upstream simple index, without credentials."""
    credentials: str = ""
    """`user:password` for the upstream's host; never shown, never logged."""
    cache_expiry: int = 1800
    """Seconds for which a page counts as fresh after the upstream was asked."""
    history: int = 0
    """Seconds for which former contents of a page can be read. Stores use it (`rules.planning.past`). 0: pages have no history."""
    use_external_urls: bool = False
    """Redirect clients to the upstream for files that are not kept here, instead of fetching them."""
    no_project_list: bool = False
    """Never ask the upstream for its project list. A project is listed after its page was first asked for."""
    ignore_serial_header: bool = False
    """Take a page whose `X-PyPI-Last-Serial` is lower than that of the stored one (after a change of upstream)."""
    sizes: int = 20
    """Of how many files of a page without sizes the upstream is asked for the size, the newest first."""
    absent_statuses: tuple[int, ...] = (404, 410)
    """HTTP statuses of the upstream that mean absent. Every other error status is a failure."""
    upload_time: str = "upstream"
    """The time that a file without an upload time shows: `first-seen`, that at which it was first listed here; `upstream`, none."""
    web_url_fmt: str = ""
    """The URL of a web page about a project at the upstream; `{name}` stands for the project."""


class Quotas(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"file": "max_file_bytes", "project": "max_project_bytes", "index": "max_index_bytes"},
):
    """The most bytes that uploads and pushes may bring an index to. 0: no bound."""

    file: int = 0
    project: int = 0
    index: int = 0

    @property
    def bounds(self) -> bool:
        return bool(self.file or self.project or self.index)


class RetentionRule(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "releases": "retain_releases",
        "prereleases": "retain_prereleases",
        "age": "retain_age",
        "always": "retain_always",
    },
):
    """Which releases an index keeps (`rules.retaining`)."""

    releases: int = 0
    """How many of the newest final releases of a project stay. 0: the count keeps none."""
    prereleases: int = 0
    """The same of pre-releases."""
    age: int = 0
    """Seconds for which a release stays after its upload."""
    always: tuple[str, ...] = ()
    """`PROJECT` or `PROJECT==VERSION`, of releases that stay."""

    @property
    def removes(self) -> bool:
        """Whether the rule can remove anything."""
        return bool(self.releases or self.prereleases or self.age)


DEFAULTS: Final[Mapping[str, Any]] = {
    "mirror_whitelist": [],
    "mirror_whitelist_inheritance": "intersection",
    **{field.encode_name: plain(field.default) for field in fields(MirrorOptions)},
    **{field.encode_name: plain(field.default) for owned in (Quotas, RetentionRule) for field in fields(owned)},
}
"""The defaults of these options."""


def mirror_options(config: IndexConfig) -> MirrorOptions:
    """Read the options of a mirror. Takes half a microsecond, so callers need not cache it."""
    return msgspec.convert(config.options, MirrorOptions)


def quotas(config: IndexConfig) -> Quotas:
    """Read the quotas of an index."""
    return msgspec.convert(config.options, Quotas)


def retention_rule(config: IndexConfig) -> RetentionRule:
    """Read the retention rule of an index."""
    return msgspec.convert(config.options, RetentionRule)


def whitelist(config: IndexConfig) -> Sequence[str]:
    """Normalised project names, or `*`, that may be taken from a mirror although a hosted index has them."""
    names: Sequence[str] = config.options.get("mirror_whitelist", ())
    return names


def unites_whitelists(config: IndexConfig) -> bool:
    """Whether one whitelist of the order is enough to open a name. Otherwise, also for an unknown value, the first one decides."""
    return bool(config.options.get("mirror_whitelist_inheritance") == "union")


def with_options(config: IndexConfig, /, **values: Any) -> IndexConfig:
    """The index with these options changed."""
    options = {**config.options, **values}
    changed = {key: value for key, value in options.items() if key not in DEFAULTS or plain(value) != DEFAULTS[key]}
    return replace(config, options=changed)
