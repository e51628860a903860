"""A browser without script, as far as forms go: it keeps cookies, follows redirects, and sends the forms that a page has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from msgspec import Struct

from tests.http.conftest import PASSWORD, Served

ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class PageForm(Struct):
    """A form of a page, with the values that its fields have."""

    action: str
    method: str
    kind: str
    fields: list[tuple[str, str]]
    buttons: list[tuple[str, str]]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self._open: PageForm | None = None
        self._select = self._text = ""
        self._chosen: str | None = None
        self._in_option = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            assert self._open is None, "forms do not nest"
            self._open = PageForm(given.get("action", ""), given.get("method", "get"), given.get("enctype", ""), [], [])
            self.forms.append(self._open)
        elif self._open is None:
            return
        elif tag == "input" and given.get("type") == "checkbox":
            if "checked" in given:
                self._open.fields.append((given["name"], given["value"]))
        elif tag == "input":
            self._open.fields.append((given["name"], given.get("value", "")))
        elif tag == "button" and "name" in given:
            self._open.buttons.append((given["name"], given["value"]))
        elif tag in {"select", "textarea"}:
            self._select, self._text, self._chosen = given["name"], "", None
        elif tag == "option":
            self._in_option = "selected" in given

    def handle_data(self, data: str) -> None:
        if self._in_option:
            self._chosen = data
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "option":
            self._in_option = False
        elif tag in {"select", "textarea"} and self._open is not None:
            value = (self._chosen or "") if tag == "select" else self._text
            self._open.fields.append((self._select, value))


class Seen(Struct):
    """A page that the browser shows."""

    status: int
    url: str
    text: str
    headers: Mapping[str, str]

    @property
    def forms(self) -> list[PageForm]:
        parser = _Forms()
        parser.feed(self.text)
        return parser.forms

    def form(self, *names: str, **values: str) -> PageForm:
        """The form that has fields or buttons of these names, and these values."""
        for form in self.forms:
            pairs = [*form.fields, *form.buttons]
            if set(names) <= {name for name, _ in pairs} and set(values.items()) <= set(pairs):
                return form
        raise AssertionError(f"no form has {names} {values} in {self.text}")


class Browser:
    """One person's browser."""

    def __init__(self, served: Served, **headers: str) -> None:
        self.served = served
        self.headers = {"Accept": ACCEPT, **headers}
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    async def get(self, path: str) -> Seen:
        return await self.send("GET", urljoin(self.served.url, path))

    async def submit(
        self, page: Seen, form: PageForm, *, files: Sequence[tuple[str, bytes]] = (), **values: Any
    ) -> Seen:
        """Send a form of a page, with some values changed. A list is several values, and None none."""
        fields = [(name, value) for name, value in form.fields if name not in values]
        for name, value in values.items():
            fields += [
                (name, each) for each in ([] if value is None else value if isinstance(value, list) else [value])
            ]
        url = urljoin(page.url, form.action or page.url)
        if form.method == "get":
            query = "&".join(f"{name}={value}" for name, value in fields)
            return await self.send("GET", f"{url.partition('?')[0]}?{query}")
        data = aiohttp.FormData(quote_fields=False)
        for name, value in fields:
            if name != "content":
                data.add_field(name, value)
        for filename, body in files:
            data.add_field("content", body, filename=filename, content_type="application/octet-stream")
        parts = urlsplit(self.served.url)
        origin = {"Origin": f"{parts.scheme}://{parts.netloc}", "Sec-Fetch-Site": "same-origin"}
        return await self.send("POST", url, data=data, headers=origin)

    async def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **given: Any) -> Seen:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**self.headers, **({"Cookie": cookies} if cookies else {}), **(headers or {})}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
            client.request(method, url, headers=sent, allow_redirects=False, **given) as answer,
        ):
            text = await answer.text(errors="replace")
            self._keep(answer.headers.getall("Set-Cookie", []))
            status, seen = answer.status, dict(answer.headers)
        if status in {301, 302, 303}:
            return await self.send("GET", urljoin(url, seen["Location"]))
        return Seen(status, url, text, seen)

    def _keep(self, written: Sequence[str]) -> None:
        for line in written:
            self.set_cookies.append(line)
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    async def log_in(self, name: str, password: str = PASSWORD, *, path: str = "/+login") -> Seen:
        page = await self.get(path)
        return await self.submit(page, page.form("password"), name=name, password=password)
