"""The exact bytes of some pages, kept where a person can review them: `tests/golden` (see its README)."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import File, Page, PageHead, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import ProjectList, Renderer
from pkgindex_core.rules.merging import merge

GOLDEN = Path(__file__).parents[2] / "golden"
REGENERATE = "PKGINDEX_WRITE_GOLDEN"

DEMO = ProjectName("demo")
DEV, PYPI = IndexName("team/dev"), IndexName("root/pypi")


def hosted(filename: str, version: str, **more: object) -> File:
    known: dict[str, object] = {
        "digests": {"sha256": sha256_of(filename.encode())},
        "size": len(filename),
        "upload_time": Timestamp(1_767_225_600_000_000),
    }
    return msgspec.convert({"filename": filename, "version": version, **known, **more}, File)


def layer(index: IndexName, stamp: int, head: PageHead, *files: File) -> Page:
    return Page(index=index, project=DEMO, stamp=Serial(stamp), head=head, rows=tuple(page_row(file) for file in files))


MINE = layer(
    DEV,
    41,
    PageHead(display_name="Demo", versions=("0.1",)),
    hosted(
        "demo-2.0-py3-none-any.whl",
        "2.0",
        requires_python=">=3.11,<4",
        metadata_sha256=Sha256("c" * 64),
        upload_time=Timestamp(1_767_225_600_123_456),
    ),
    hosted("demo-2.0.tar.gz", "2.0", requires_python=">=3.11,<4"),
    hosted("demo-2.1+cu121-py3-none-any.whl", "2.1+cu121", metadata_sha256=Sha256("d" * 64)),
    hosted("demo-1!1.0.tar.gz", "1!1.0"),
)
UPSTREAM = layer(
    PYPI,
    40,
    PageHead(display_name="demo", status="deprecated", status_reason='Use "other" <https://example.test/?a&b>'),
    hosted("demo-2.0.tar.gz", "2.0", yanked="the same name further down: not shown"),
    hosted("demo-1.10.tar.gz", "1.10", yanked='broken on <3.8 & "slow"\nsecond line'),
    hosted("demo-1.9-py3-none-any.whl", "1.9", yanked=True, metadata_offered=True),
    hosted("demo-1.9.0.zip", "1.9.0", provenance="https://example.test/integrity/demo?a=1&b=2", gpg_sig=True),
    File(filename="demo-1.8.tar.bz2", version="1.8", url="https://files.example.test/demo-1.8.tar.bz2"),
    File(filename="Demo-1.7.win32.exe", version="1.7", digests={"md5": "0" * 32}, url="https://files.example.test/1.7"),
    File(filename="démo 2004d.egg", version="2004d", url="https://files.example.test/2004d"),
)
LAYERS = [(DEV, "../../", MINE), (PYPI, "../../../../root/pypi/", UPSTREAM)]
QUARANTINED = layer(PYPI, 42, PageHead(status="quarantined", status_reason="malware"), hosted("demo-9.zip", "9"))


def listing(renderer: Renderer) -> bytes:
    parts = [
        ProjectList(
            names=[ProjectRow(ProjectName("a-b-c"), "A.b_-C", Serial(7)), ProjectRow(DEMO, "Demo", Serial(42))]
        ),
        ProjectList(names=[ProjectRow(ProjectName("zope-interface"), "zope.interface", Serial(0))]),
    ]
    serial = Serial(42)
    written = [renderer.list_part(part, first=number == 0) for number, part in enumerate(parts)]
    return renderer.list_start(serial) + b"".join(written) + renderer.list_end(serial)


CASES: dict[str, Callable[[Renderer], bytes]] = {
    "merged": lambda renderer: renderer.page(merge(DEMO, LAYERS)),
    "quarantined": lambda renderer: renderer.page(merge(DEMO, [(PYPI, "../../", QUARANTINED)])),
    "list": listing,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("renderer", "ending"), [(JsonRenderer(), "json"), (HtmlRenderer(), "html")])
def test_pages_are_the_reviewed_bytes(case: str, renderer: Renderer, ending: str) -> None:
    path = GOLDEN / f"simple-{case}.{ending}"
    written = CASES[case](renderer)
    if os.environ.get(REGENERATE):
        path.write_bytes(written)
        pytest.skip(f"{path.name} was written anew: review the difference")
    assert written == path.read_bytes(), f"{path.name} differs; a fingerprint must change with the bytes (README there)"
