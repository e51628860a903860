"""The built-in policies, filters and renderers pass the contract suites. (Somebody else's: tests/outsider.)"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser

from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import IndexConfig, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import AdmissionPolicy, PageFilter, Renderer
from pkgindex_core.rules.admission import AvailableMirrors, FirstMirror, MirrorWhitelist
from pkgindex_core.rules.constraining import OPTION, ConstraintFilter
from pkgindex_core.rules.filtering import Withholding
from pkgindex_core.rules.routing import RoutedAdmission
from pkgindex_core.testing.admission_policies import AdmissionPolicyContract
from pkgindex_core.testing.index_cases.values import DEV, MIRROR, PROD
from pkgindex_core.testing.page_filters import PageFilterContract
from pkgindex_core.testing.renderers import RendererContract
from pkgindex_core.testing.samples import TREE, sample_file, tree_of

CHOSEN = IndexName("ann/chosen")


class TestConstraintFilter(PageFilterContract):
    tree = tree_of(
        IndexConfig(name=CHOSEN, type="constrained", bases=tuple(TREE.indexes), options={OPTION: ["demo>=2", "*"]}),
        *TREE.indexes.values(),
    )
    start = CHOSEN
    hides = sample_file("demo-1.0.zip", "1.0")
    shows = sample_file("demo-2.0.zip", "2.0")

    def make(self) -> PageFilter:
        return ConstraintFilter()


class TestMirrorWhitelist(AdmissionPolicyContract):
    def make(self) -> AdmissionPolicy:
        return MirrorWhitelist()

    def others(self) -> Sequence[AdmissionPolicy]:
        return [FirstMirror(), AvailableMirrors()]


class TestFirstMirror(AdmissionPolicyContract):
    def make(self) -> AdmissionPolicy:
        return FirstMirror()


class TestAvailableMirrors(AdmissionPolicyContract):
    def make(self) -> AdmissionPolicy:
        return AvailableMirrors()


class TestWithholding(AdmissionPolicyContract):
    """The policy that stands around the chosen one and keeps out what filters withhold."""

    def trees(self) -> Sequence[Tree]:
        closed = IndexConfig(name=DEV, bases=(PROD, MIRROR), options={OPTION: ["other", "*"]})
        return *super().trees(), tree_of(*(super().trees()[0].indexes | {DEV: closed}).values())

    def make(self) -> AdmissionPolicy:
        return Withholding(FirstMirror(), {"constrained": ConstraintFilter()})


class TestRoutedAdmission(AdmissionPolicyContract):
    """The policy that stands around the chosen one: an index with routes takes each project from the layer that its route names."""

    def trees(self) -> Sequence[Tree]:
        first, *_ = super().trees()
        rules = [
            {"pattern": "demo", "place": "x, line 1", "base": MIRROR},
            {"pattern": "{p}", "place": "x", "folder": "/"},
        ]
        routed = {name: IndexConfig(name=name, bases=(PROD, MIRROR), options={"routes": rules}) for name in (DEV, PROD)}
        return *super().trees(), *(tree_of(*{**first.indexes, name: each}.values()) for name, each in routed.items())

    def make(self) -> AdmissionPolicy:
        return RoutedAdmission(FirstMirror())


class TestJsonRenderer(RendererContract):
    def make(self) -> Renderer:
        return JsonRenderer()

    def read_page(self, data: bytes) -> Sequence[tuple[str, str]]:
        return [(file["filename"], file["url"]) for file in json.loads(data)["files"]]

    def read_list(self, data: bytes) -> Sequence[str]:
        return [project["name"] for project in json.loads(data)["projects"]]


class Links(HTMLParser):
    """Every link of a page and its text, as an installer finds them."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._url: str | None = None
        self.feed(data.decode("ascii"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        if tag == "a":
            self._url, self._text = dict(attrs)["href"], ""

    def handle_data(self, data: str) -> None:
        if self._url is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._url is not None:
            self.found.append((self._text, self._url))
            self._url = None


class TestHtmlRenderer(RendererContract):
    def make(self) -> Renderer:
        return HtmlRenderer()

    def read_page(self, data: bytes) -> Sequence[tuple[str, str]]:
        return Links(data).found

    def read_list(self, data: bytes) -> Sequence[str]:
        return [shown for shown, _ in Links(data).found]


class TestPlainHtmlRenderer(TestHtmlRenderer):
    def make(self) -> Renderer:
        return HtmlRenderer("text/html")
