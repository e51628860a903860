"""Small values for the cases of the index store."""

from __future__ import annotations

from typing import Any, Final

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.configs import mirror_config

START: Final = Timestamp(1_700_000_000_000_000)
SECOND: Final = 1_000_000

DEV: Final = IndexName("ann/dev")
PROD: Final = IndexName("ann/prod")
MIRROR: Final = IndexName("root/mirror")
NOWHERE: Final = IndexName("ann/nowhere")

DEMO: Final = ProjectName("demo")
OTHER: Final = ProjectName("other")


class ManualClock:
    """A clock that only moves by `advance`."""

    def __init__(self, moment: Timestamp = START) -> None:
        self.moment = moment

    def now(self) -> Timestamp:
        return self.moment

    def monotonic(self) -> float:
        return self.moment / SECOND

    def advance(self, seconds: float) -> None:
        self.moment = Timestamp(self.moment + int(seconds * SECOND))


def hosted(filename: str, content: str = "", **fields: Any) -> File:
    """A file of an upload. Different `content` has different digests."""
    return File(filename=filename, digests={"sha256": sha256_of((content or filename).encode())}, size=1, **fields)


def mirrored(filename: str, content: str = "", **fields: Any) -> File:
    """A file as an upstream lists it."""
    return hosted(filename, content, url=f"https://files.example.org/{filename}", **fields)


def unfetched(filename: str) -> File:
    """A file of an upstream that gives no sha256."""
    return File(filename=filename, digests={"md5": "0" * 32}, url=f"https://files.example.org/{filename}")


def stage(name: IndexName, **options: Any) -> IndexConfig:
    return IndexConfig(name=name, **options)


def mirror(name: IndexName, **options: Any) -> IndexConfig:
    return mirror_config(name, "https://example.org/simple/", **options)


def user(name: str, **fields: Any) -> User:
    return User(name=name, **fields)


def head(display_name: str = "", **fields: Any) -> PageHead:
    return PageHead(display_name=display_name, **fields)


def docs(version: str, content: str = "docs", **fields: Any) -> Attachment:
    """Documentation of `demo`."""
    return Attachment(
        kind="doczip",
        filename=f"demo-{version}.doc.zip",
        version=version,
        sha256=sha256_of(content.encode()),
        size=len(content),
        added=START,
        **fields,
    )


def tox_result(filename: str, about: str, content: str = "result") -> Attachment:
    """The result of a test of a file."""
    return Attachment(
        kind="toxresult",
        filename=filename,
        version="1.0",
        about=about,
        sha256=sha256_of(content.encode()),
        size=len(content),
        added=START,
    )
