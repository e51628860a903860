"""The subject of a check: an index, one project with a wheel, its pages in both formats, and the wheel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_http.checking.asking import CheckClient, SeenAnswer

JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML_V1: Final = "application/vnd.pypi.simple.v1+html"
PIP: Final = f"{JSON}, {HTML_V1}; q=0.1, text/html; q=0.01"
"""The `Accept` of pip. uv's differs in the weights."""
_TRIED: Final = 25
"""The projects of the list in which a wheel is looked for."""


class PageLink(Struct, frozen=True):
    """A link of a page in HTML."""

    url: str
    """Absolute, without its fragment."""
    fragment: str
    text: str
    attributes: Mapping[str, str]

    @property
    def filename(self) -> str:
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


class _Links(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self._open: dict[str, str] | None = None
        self._text = ""
        self.links: list[PageLink] = []
        self.metas: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self._open, self._text = given, ""
        elif tag == "meta" and "name" in given:
            self.metas[given["name"]] = given.get("content", "")
        elif tag == "base" and "href" in given:
            self._base = urljoin(self._base, given["href"])

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open is not None:
            url, fragment = urldefrag(urljoin(self._base, self._open.get("href", "")))
            self.links.append(PageLink(url, fragment, self._text.strip(), self._open))
            self._open = None


def links_of(page: SeenAnswer) -> tuple[Sequence[PageLink], Mapping[str, str]]:
    """The links and the `meta` elements of a page in HTML."""
    parser = _Links(page.url)
    parser.feed(page.text)
    return parser.links, parser.metas


def document_of(page: SeenAnswer) -> Mapping[str, Any] | None:
    """The JSON object of a page; None if it is none."""
    try:
        return msgspec.json.decode(page.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class CheckedSubject(Struct, frozen=True, kw_only=True):
    """The project that is checked, and its index."""

    asking: CheckClient
    root: str
    """The simple index, with a slash at its end."""
    project: str
    page: str
    """The URL of the project's page."""
    html: SeenAnswer
    """The page as it is answered to `text/html`."""
    json: SeenAnswer
    """The page as it is answered to pip."""
    wheel: PageLink | None
    """A wheel of the project."""

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The page in JSON; None if the index has none."""
        return document_of(self.json) if self.json.kind == JSON else None


async def find_subject(asking: CheckClient, root: str, project: str = "") -> CheckedSubject:
    """Find a project with a wheel, or take the one that is named. Raises `Refused` if the URL is no simple index with files."""
    for name in [_normalized(project)] if project else await _names(asking, root):
        page = f"{root}{name}/"
        html = await asking.get(page, Accept="text/html")
        links, _ = links_of(html)
        wheel = next((link for link in links if link.filename.endswith(".whl")), None)
        if html.status == 200 and (wheel is not None or (project and links)):
            seen = await asking.get(page, Accept=PIP)
            return CheckedSubject(asking=asking, root=root, project=name, page=page, html=html, json=seen, wheel=wheel)
    told = f"the project {project}" if project else f"one of the first {_TRIED} projects"
    raise Refused(
        f"{root} has no page with a wheel for {told}", hint="give the URL of a simple index, and --project NAME"
    )


async def _names(asking: CheckClient, root: str) -> list[str]:
    listed = await asking.get(root, Accept=PIP)
    if listed.status != 200:
        raise Refused(f"{root} answered {listed.status}", hint="give the URL of a simple index, such as …/simple/")
    document = document_of(listed) if listed.kind == JSON else None
    if document is not None:
        names = [str(each.get("name", "")) for each in document.get("projects", ())[: 4 * _TRIED]]
    else:
        names = [link.text for link in links_of(listed)[0][: 4 * _TRIED]]
    return [_normalized(name) for name in names if name][:_TRIED]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
