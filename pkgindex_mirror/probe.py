"""Finds out what an upstream offers, before it is mirrored.

Asks as the mirror does: for a project's page as JSON, as HTML, and again with its validators; then for a part of one wheel
and for its sidecar. Nothing is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from pkgindex_core.clock import SystemClock
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror import urls
from pkgindex_mirror.documents.document_kinds import is_json
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.pages import PageListing, api_version, read_page
from pkgindex_mirror.readthrough.files import sidecars
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import ACCEPT, UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Transfer, Unchanged

_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = "application/vnd.pypi.simple.v1+html, text/html;q=0.5"


class ProbeReport(Struct, frozen=True, kw_only=True):
    """The abilities of an upstream. None: not known."""

    url: str
    project: str
    problem: str = ""
    """Why the upstream cannot be mirrored; empty when it can."""
    formats: tuple[str, ...] = ()
    """The formats that it offers, of `json` and `html`."""
    preferred: str = ""
    """The format of its answer to the request that the mirror sends."""
    api_version: str | None = None
    page_bytes: int | None = None
    received_bytes: int | None = None
    """The page's bytes on the wire."""
    latency_ms: float | None = None
    validators: tuple[str, ...] = ()
    answers_unchanged: bool | None = None
    """Whether it answers 304 when asked again with its own validators."""
    files: int | None = None
    versions: int | None = None
    status: str = ""
    hashes: tuple[str, ...] = ()
    with_size: int = 0
    with_upload_time: int = 0
    sidecars_announced: int = 0
    sidecar_served: bool | None = None
    ranges: bool | None = None
    file_hosts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about what the mirror would leave out of the page."""
    advice: tuple[str, ...] = ()


async def probe(url: str, project: ProjectName, *, credentials: str = "", settings: MirrorSettings) -> ProbeReport:
    """Ask an upstream about one project."""
    base = urls.cleaned(url)
    if base is None:
        return ProbeReport(url=urls.shown(url), project=project, problem="this is not an http or https URL")
    site = Site(base=urls.with_slash(base), authorization=urls.basic(credentials) if credentials else "")
    client = UpstreamClient(settings, SystemClock())
    try:
        found = await _ask(client, site, project)
    finally:
        await client.close()
    report = ProbeReport(url=site.base, project=project, **found)
    return replace(report, advice=advice(report))


async def _ask(client: UpstreamClient, site: Site, project: ProjectName) -> dict[str, Any]:
    url = site.project_url(project)
    begun = time.perf_counter()
    answer = await client.document(site, url, accept=ACCEPT)
    latency_ms = round((time.perf_counter() - begun) * 1000, 1)
    if not isinstance(answer, Document):
        return {"problem": _problem(answer, project), "latency_ms": latency_ms}
    listing = read_page(answer.body, answer.content_type, answer.url, project)
    found: dict[str, Any] = {
        "latency_ms": latency_ms,
        "preferred": _format(answer),
        "api_version": api_version(answer.body, answer.content_type),
        "page_bytes": len(answer.body),
        "received_bytes": answer.received,
        "validators": tuple(sorted(answer.validators.keys() - {"url"})),
    }
    if isinstance(listing, UnreadablePage):
        return found | {"problem": listing.reason}
    if found["validators"]:
        again = await client.document(site, url, validators=answer.validators)
        found["answers_unchanged"] = isinstance(again, Unchanged)
    formats = []
    for name, accept in (("json", _JSON), ("html", _HTML)):
        other = await client.document(site, url, accept=accept)
        if isinstance(other, Document) and _format(other) == name:
            formats.append(name)
    return found | {"formats": tuple(formats)} | _of_listing(listing) | await _of_files(client, site, listing, project)


def _of_listing(listing: PageListing) -> dict[str, Any]:
    files = listing.files
    return {
        "files": len(files),
        "versions": len({file.version for file in files} | set(listing.versions)),
        "status": listing.status,
        "hashes": tuple(sorted({name for file in files for name in file.digests})),
        "with_size": sum(file.size is not None for file in files),
        "with_upload_time": sum(file.upload_time is not None for file in files),
        "sidecars_announced": sum(file.metadata_sha256 is not None for file in files),
        "file_hosts": tuple(sorted({urls.host(file.url) for file in files})),
        "notes": listing.notes,
    }


async def _of_files(
    client: UpstreamClient, site: Site, listing: PageListing, project: ProjectName
) -> dict[str, bool | None]:
    """Try the smallest wheel, or else the smallest file."""
    wheels = [file for file in listing.files if file.filename.endswith(".whl")]
    file = min(wheels or listing.files, key=_weight, default=None)
    if file is None:
        return {}
    async with client.file(site, file.url, span=(0, 1)) as answer:
        ranges = not answer.whole if isinstance(answer, Transfer) else None
    sidecar = None
    if wheels:
        offered = await sidecars.offered(client, site, file.url)
        sidecar = isinstance(offered, bytes) and sidecars.describes(offered, project)
    return {"ranges": ranges, "sidecar_served": sidecar}


def _weight(file: File) -> int:
    return 2**62 if file.size is None else file.size


def _format(document: Document) -> str:
    return "json" if is_json(document.body, document.content_type) else "html"


def _problem(answer: Unchanged | AbsentAnswer | Failed, project: ProjectName) -> str:
    match answer:
        case AbsentAnswer(status):
            return f"it answered {status}: it has no project {project}, or this is not the base of its simple index"
        case Failed(reason=reason):
            return reason
        case Unchanged():
            return "it answered 304 to an unconditional request"


def advice(report: ProbeReport) -> tuple[str, ...]:
    """The consequences for a mirror of this upstream, as sentences."""
    if report.problem:
        return (
            "Try the URL in a browser: it should show links to projects. Simple indexes mostly end in /simple/ or /+simple/.",
        )
    return tuple(_advice(report))


def _advice(report: ProbeReport) -> list[str]:
    told: list[str] = []
    files = report.files or 0
    if "json" not in report.formats:
        told.append("It speaks HTML only: no sizes and upload times, so `uv --exclude-newer` finds nothing here.")
    if not report.validators:
        told.append("It gives no validators: each check transfers the whole page. A longer mirror_cache_expiry helps.")
    elif not report.answers_unchanged:
        told.append(
            "It ignores its own validators: each check transfers the whole page. A longer mirror_cache_expiry helps."
        )
    if files and "sha256" not in report.hashes:
        told.append("Its pages have no sha256: the mirror adds it when a file is first fetched.")
    if report.sidecar_served is False:
        told.append(
            "It has no metadata files: the mirror reads the metadata from its wheels, by range requests."
            if report.ranges
            else "It has neither metadata files nor range requests: for the metadata of a wheel the mirror fetches the whole wheel."
        )
    elif report.ranges is False:
        told.append("It does not answer range requests: an interrupted transfer starts again from the beginning.")
    own = urls.host(report.url)
    others = [host for host in report.file_hosts if host != own]
    if others:
        told.append(
            f"Its files are at {', '.join(others[:5])}: credentials are not sent there; private addresses need allow_networks."
        )
    if report.status not in {"", "active"}:
        told.append(f"The project is {report.status}.")
    if report.notes:
        told.append(f"{len(report.notes)} entries of the page cannot be read and would be left out.")
    return told


def lines(report: ProbeReport) -> Iterator[str]:
    """The report as text: one fact a line, then the advice."""
    yield f"{report.url} ({report.project})"
    if report.problem:
        yield f"  cannot be mirrored: {report.problem}"
    for name, value in asdict(report).items():
        if name not in {"url", "project", "problem", "notes", "advice"} and value not in (None, "", ()):
            yield f"  {name.replace('_', ' '):<20} {_shown(value)}"
    yield from (f"  left out: {note}" for note in report.notes)
    yield from (f"* {sentence}" for sentence in report.advice)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
