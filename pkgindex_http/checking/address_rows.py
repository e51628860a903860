"""Rows about URLs, names and formats (SI and CN)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

from pkgindex_http.checking.outcomes import Advised, CheckedRow, Skipped
from pkgindex_http.checking.subjects import HTML_V1, JSON, PIP, CheckedSubject, links_of

_UNKNOWN: Final = "no-such-project-0d2f8a6c1b"
_MOVED: Final = (301, 302, 307, 308)
_ESCAPES: Final = ("..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "..%5c..%5cetc", "%00")


async def _list(subject: CheckedSubject) -> str:
    seen = await subject.asking.get(subject.root, Accept="text/html")
    if seen.status != 200:
        return f"the list answers {seen.status}"
    there = {urlsplit(link.url).path for link in links_of(seen)[0]}
    return (
        "" if urlsplit(subject.page).path in there else "the list has no link to the page of the project, with a slash"
    )


async def _slash(subject: CheckedSubject) -> str:
    seen = await subject.asking.get(subject.page.rstrip("/"), follow=False)
    if seen.status not in _MOVED:
        raise Advised(f"the page without its slash answers {seen.status}")
    target = urljoin(seen.url, seen.headers.get("location", ""))
    return "" if urlsplit(target).path == urlsplit(subject.page).path else f"it leads to {target}"


async def _spelling(subject: CheckedSubject) -> str:
    spelled = subject.project.replace("-", "_").upper()
    if spelled == subject.project:
        raise Skipped("the name has one spelling")
    seen = await subject.asking.get(f"{subject.root}{spelled}/", Accept="text/html")
    if seen.status != 200:
        if seen.status < 500:
            raise Advised(f"{spelled} answers {seen.status}")
        return f"{spelled} answers {seen.status}"
    names = [{link.filename for link in links_of(each)[0]} for each in (seen, subject.html)]
    return "" if names[0] == names[1] else f"{spelled} has other files"


async def _unknown(subject: CheckedSubject) -> str:
    seen = await subject.asking.get(f"{subject.root}{_UNKNOWN}/", Accept=PIP)
    return "" if seen.status == 404 else f"an unknown project answers {seen.status}"


async def _filenames(subject: CheckedSubject) -> str:
    wrong = [link for link in links_of(subject.html)[0] if link.filename != link.text]
    return f"{wrong[0].url} does not end with {wrong[0].text}" if wrong else ""


async def _queries(subject: CheckedSubject) -> str:
    wrong = [link.url for link in links_of(subject.html)[0] if urlsplit(link.url).query]
    return f"{wrong[0]} has a query" if wrong else ""


async def _head(subject: CheckedSubject) -> str:
    seen = await subject.asking.get(subject.page, method="HEAD", Accept="text/html")
    if seen.status != subject.html.status:
        return f"HEAD answers {seen.status}, GET {subject.html.status}"
    return "" if seen.kind == subject.html.kind else f"HEAD says {seen.kind or 'no type'}, GET {subject.html.kind}"


async def _escapes(subject: CheckedSubject) -> str:
    broken = ""
    for segment in _ESCAPES:
        seen = await subject.asking.get(f"{subject.root}{segment}/", follow=False)
        if seen.status in _MOVED:
            continue
        if seen.status >= 500:
            broken = f"{segment} answers {seen.status}"
        elif seen.status not in {400, 403, 404, 405, 414}:
            return f"{segment} answers {seen.status}"
    if broken:
        raise Advised(broken)
    return ""


async def _typed(subject: CheckedSubject) -> str:
    for what, seen in (("the page", subject.html), ("the page for pip", subject.json)):
        if not seen.kind:
            return f"{what} has no Content-Type"
    return ""


async def _anything(subject: CheckedSubject) -> str:
    without = await subject.asking.get(subject.page)
    for what, seen in (("no Accept", without), ("*/*", await subject.asking.get(subject.page, Accept="*/*"))):
        if seen.status != 200:
            return f"{what} gets {seen.status}"
        if seen.kind not in {"text/html", HTML_V1}:
            raise Advised(f"{what} gets {seen.kind}")
    return ""


async def _weights(subject: CheckedSubject) -> str:
    seen = await subject.asking.get(subject.page, Accept=f"{JSON};q=0, text/html;q=0.5")
    return "" if seen.kind in {"text/html", HTML_V1} else f"a format that is excluded is answered: {seen.kind}"


async def _richest(subject: CheckedSubject) -> str:
    if subject.json.kind != JSON:
        raise Advised(f"pip gets {subject.json.kind or subject.json.status}")
    return ""


async def _none(subject: CheckedSubject) -> str:
    seen = await subject.asking.get(subject.page, Accept="application/x-nothing")
    return "" if seen.status in {200, 406} else f"an unknown format answers {seen.status}"


async def _vary(subject: CheckedSubject) -> str:
    if subject.json.kind == subject.html.kind:
        raise Skipped("there is one format")
    named = subject.html.headers.get("vary", "").lower()
    if "accept" not in [word.strip() for word in named.split(",")] and named != "*":
        raise Advised(f"Vary is {named or 'missing'}")
    return ""


async def _tags(subject: CheckedSubject) -> str:
    tag = subject.html.headers.get("etag", "")
    if not tag:
        raise Advised("pages have no ETag")
    if subject.json.kind != subject.html.kind and subject.json.headers.get("etag") == tag:
        return "both formats have one ETag"
    again = await subject.asking.get(subject.page, Accept="text/html", If_None_Match=tag)
    return "" if again.status == 304 else f"the same ETag again answers {again.status}"


ADDRESS_ROWS: Final = (
    CheckedRow("SI-2", "list and pages at their URLs", "pip search tools and mirrors find no projects", _list),
    CheckedRow("SI-3", "a URL without its slash is redirected", "links and pasted URLs without the slash fail", _slash),
    CheckedRow("SI-4", "a name in another spelling is found", "pip install My_Package finds nothing", _spelling),
    CheckedRow("SI-6", "an unknown project is 404", "uv and pip stop, or take an empty project for the truth, and ask no other index", _unknown),
    CheckedRow("SI-10", "the URL of a file ends with its name", "pip and uv take the name from there, and skip the file", _filenames),
    CheckedRow("SI-12", "the URL of a file has no query", "pip appends .metadata behind the query, and gets no metadata", _queries),
    CheckedRow("SI-13", "HEAD answers as GET does", "monitors, proxies and poetry's checks are told something else", _head),
    CheckedRow("SI-14", "segments with dots and nulls leave nothing", "a client might read files of the server", _escapes),
    CheckedRow("CN-1", "answers have a Content-Type", "pip ignores pages without one", _typed),
    CheckedRow("CN-3", "*/* is answered with HTML", "pipenv and scripts get a format that they do not read", _anything),
    CheckedRow("CN-4", "weights are respected", "clients get a format that they excluded", _weights),
    CheckedRow("CN-5", "pip gets JSON", "pip, uv and poetry get no sizes and upload times: no cooldowns, no size checks", _richest),
    CheckedRow("CN-8", "a format that cannot be had is 406", "clients of other formats take the error for an outage", _none),
    CheckedRow("CN-12", "Vary names Accept", "a shared cache gives JSON to clients of HTML, or the reverse", _vary),
    CheckedRow("CN-13", "pages have ETags and answer 304", "pip and uv fetch every page whole, each time", _tags),
)  # fmt: skip
