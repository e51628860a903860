"""The built-in types and options of indexes, and those of mirrors, pass the contract suites."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.protocols import IndexOption, IndexType
from pkgindex_core.rules.constraining import CONSTRAINED_TYPE, CONSTRAINTS_OPTION, OPTION
from pkgindex_core.rules.index_options import BUILTIN_OPTIONS, BUILTIN_TYPES
from pkgindex_core.testing.index_options import IndexOptionContract, IndexTypeContract
from pkgindex_mirror.sending.notices import index_options

UPSTREAM = {"mirror_url": "https://example.org/simple/"}

BOOLEANS = (("yes", False), ("perhaps", 7, []))
NAMES = ((["ann", ":AUTHENTICATED:"], ":anonymous:,ann", ()), ("a b", "::", [":"]))
EVERYTHING: tuple[Any, ...] = ()
URLS = (("https://ann:pw@example.org/hook", ""), ("ftp://example.org", "example.org"))
AMOUNTS = ((0, "5", 2**40, "20GiB", "1.5 kB"), (-1, "much", "1.5b", True, 10**400, float("inf"), 2.5))
COUNTS = ((0, "10"), (-1, "few", True, 10**400))

TABLE: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "volatile": BOOLEANS,
    "bases": ((["root/mirror"], "ann/prod,/root/mirror/", ""), ("mirror", [1])),
    "acl_read": NAMES,
    "acl_upload": NAMES,
    "acl_download": NAMES,
    "acl_toxresult_upload": NAMES,
    "upload_rules": (("lenient", "PyPI"), ("none", 1)),
    "max_file_bytes": AMOUNTS,
    "max_project_bytes": AMOUNTS,
    "max_index_bytes": AMOUNTS,
    "retain_releases": COUNTS,
    "retain_prereleases": COUNTS,
    "retain_age": ((0, "60", "30d", "12 h"), (-1, "soon", "d", True, 10**400, float("inf"))),
    "retain_always": (
        (["Demo.Name", "other==1.0"], "demo==1.0, other", ""),
        ("-", "demo==", "demo==x", "demo>=1", ["a b"]),
    ),
    "mirror_whitelist": (("*", ["Demo.Name"], ""), ("-", ["a b"])),
    "mirror_whitelist_inheritance": (("Union", "intersection"), ("", 1)),
    "mirror_url": (("https://example.org/simple/", "http://ann:pw@example.org"), ("ftp://x", "https://x/?a", 5)),
    "mirror_cache_expiry": ((0, "60"), (-1, "soon", True, 10**400, float("inf"))),
    "mirror_history": ((0, "60", "30d", "12 h"), (-1, "soon", "d", True, 10**400, float("inf"))),
    "mirror_sizes": ((0, "20", 1000), (-1, "few", True, 1001, 10**400)),
    "mirror_use_external_urls": BOOLEANS,
    "mirror_no_project_list": BOOLEANS,
    "mirror_ignore_serial_header": BOOLEANS,
    "absent_statuses": (([404, 451], "403,404", 410), ("", 200, "429")),
    "upload_time": (("upstream", "First-Seen"), ("now", 1)),
    "mirror_web_url_fmt": (("https://example.org/{name}", ""), ("https://a:b@example.org/", "x")),
    "mirror_provides_core_metadata": BOOLEANS,
    "project_inheritance_rules": (("allow all", ["block type:remote if local_exists"]), ("allow", [])),
    "trust_inheritance_rules_from": (("none", "type:not remote"), ("all", 1)),
    "remote_url": (("https://example.org/simple/",), ("ftp://x",)),
    "remote_refresh_delay": ((0, "60"), (-1, "soon")),
    "remote_use_external_urls": BOOLEANS,
    "remote_no_project_list": BOOLEANS,
    "remote_web_url_fmt": (("https://example.org/{name}", ""), ("x",)),
    "title": (("A title", ""), EVERYTHING),
    "description": (("A text\nof lines", ""), EVERYTHING),
    "custom_data": (("text", ""), EVERYTHING),
    "uploadtrigger_jenkins": URLS,
    "slack_hook": URLS,
    "slack_icon": (("https://example.org/icon.png", ""), EVERYTHING),
    "slack_user": (("index", ""), EVERYTHING),
    "upload_webhook": URLS,
}
OPTIONS = {name: option for name, (_, option) in [*BUILTIN_OPTIONS.items(), *index_options().items()]}


class TestOptions(IndexOptionContract):
    @pytest.fixture(autouse=True, params=OPTIONS)
    def _option(self, request: pytest.FixtureRequest) -> None:
        self.option = request.param
        self.accepted, self.refused = TABLE[self.option]

    def make(self) -> IndexOption:
        return OPTIONS[self.option]

    @property
    def key(self) -> str:  # type: ignore[override]  # one class for all of them
        return self.option

    @property
    def accepts(self) -> tuple[Any, ...]:  # type: ignore[override]  # one class for all of them
        return self.accepted

    @property
    def refuses(self) -> tuple[Any, ...]:  # type: ignore[override]  # one class for all of them
        return self.refused

    @property
    def needs(self) -> dict[str, Any]:  # type: ignore[override]  # one class for all of them
        return UPSTREAM if "mirror" in self.make().types[:1] and self.make().spells != "mirror_url" else {}


class TestConstraints(IndexOptionContract):
    key = OPTION
    accepts = ("demo>=1,<2\n*", ["demo", "other==1"], "# nothing", [])
    refuses = ("demo>=", ["demo", "Demo"], 7)

    def make(self) -> IndexOption:
        return CONSTRAINTS_OPTION

    def types(self) -> dict[str, IndexType]:
        return {"constrained": CONSTRAINED_TYPE}

    def as_text(self, value: Any) -> str:
        return "\n".join(value)


class TestCustomData(IndexOptionContract):
    """Text says text; anything else is JSON."""

    key = "custom_data"
    accepts = ({"a": [1, None]}, ["x"], 5)

    def make(self) -> IndexOption:
        return OPTIONS[self.key]

    def test_a_value_is_read_back_as_it_was_kept(self) -> None:
        for given in self.accepts:
            assert self.make().parse(given) == given


class TestTypes(IndexTypeContract):
    @pytest.fixture(autouse=True, params=[*BUILTIN_TYPES, "constrained"])
    def _type(self, request: pytest.FixtureRequest) -> None:
        self.type = request.param

    def make(self) -> IndexType:
        return CONSTRAINED_TYPE if self.type == "constrained" else BUILTIN_TYPES[self.type][1]

    def options_of_the_plugin(self) -> dict[str, IndexOption]:
        return {OPTION: CONSTRAINTS_OPTION}

    @property
    def kind(self) -> str:  # type: ignore[override]  # one class for all of them
        return self.type

    @property
    def given(self) -> dict[str, Any]:  # type: ignore[override]  # one class for all of them
        return UPSTREAM if self.type == "mirror" else {}
