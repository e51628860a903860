"""All pages of the server that a browser shows, and a server on which each of them has content.

`PAGES` has the path of each page for people, and `INSTALLERS` those of pages for installers, which a browser shows too. A test holds both against
the table of routes. The texts on them come from a `Texts`: ordinary ones, or those of a stranger with evil intentions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from pkgindex_core.changes import PutAttachment, PutProject, PutRelease, PutUser, YankFile
from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.version_documents import KEYS, LISTS, encode_metadata
from pkgindex_core.models import Attachment, PageHead, Release, User, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.administering.activity import Activity
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_sdist, build_wheel, zip_of
from pkgindex_http.commands.common import ADMINISTRATOR
from tests.http.conftest import MIRROR, PASSWORD, Mirrored, MirroredStart, Served, hash_of

DEV: Final = IndexName("anna/dev")
LIVE: Final = IndexName("anna/live")
TABLES: Final = ProjectName("tables")

PLACES: Final = {
    "user": "anna",
    "index": "dev",
    "project": TABLES,
    "version": "1.1",
    "filename": "tables-1.1-py3-none-any.whl",
    "at": "12",
    "path...": "index.html",
}
"""The values of the placeholders of routes."""

# fmt: off
PAGES: Final[dict[str, tuple[str, ...]]] = {
    "/":                                            ("/",),
    "/+login":                                      ("/+login",),
    "/+search":                                     ("/+search", "/+search?q=tables", "/+search?q=nothing-at-all", "/+search?q=x+depends:"),
    "/+status":                                     ("/+status",),
    "/+users":                                      ("/+users",),
    "/+explain":                                    ("/+explain?project=tables&index=anna/dev", "/+explain?project=numbers&index=anna/dev"),
    "/{user}[/]":                                   ("/anna", "/root"),
    "/{user}/+account":                             ("/anna/+account", "/root/+account"),
    "/{user}/+new-index":                           ("/anna/+new-index",),
    "/{user}/{index}[/]":                           ("/anna/dev", "/root/pypi", "/anna/empty"),
    "/{user}/{index}/+search":                      ("/anna/dev/+search?q=tables",),
    "/{user}/{index}/+edit":                        ("/anna/dev/+edit", "/anna/live/+edit", "/root/pypi/+edit"),
    "/{user}/{index}/+upload":                      ("/anna/dev/+upload",),
    "/{user}/{index}/+manage/{project}":            ("/anna/dev/+manage/tables", "/anna/live/+manage/tables"),
    "/{user}/{index}/+plots":                       ("/anna/dev/+plots", "/root/pypi/+plots", "/anna/empty/+plots"),
    "/{user}/{index}/+plots/{project}":             ("/anna/dev/+plots/tables",),
    "/{user}/{index}/+promote/{project}/{version}": ("/anna/dev/+promote/tables/1.0", "/anna/dev/+promote/tables/1.0?to=anna/live"),
    "/{user}/{index}/{project}[/]":                 ("/anna/dev/tables", "/anna/dev/numbers", "/anna/dev/other"),
    "/{user}/{index}/{project}/+diff":             ("/anna/dev/tables/+diff?from=1.0&to=1.1",),
    "/{user}/{index}/{project}/{version}/{filename}": (
        "/anna/dev/tables/1.1/tables-1.1-py3-none-any.whl", "/anna/dev/tables/1.1/tables-1.1-py3-none-any.whl?member=tables-1.1.dist-info/METADATA",
        "/anna/dev/tables/1.0/tables-1.0.tar.gz", "/anna/dev/numbers/3.1/numbers-3.1-py3-none-any.whl",
    ),
    "/{user}/{index}/{project}/{version}[/]":       ("/anna/dev/tables/1.0",),
}
INSTALLERS: Final[dict[str, tuple[str, ...]]] = {
    "/simple/{project}/":                               ("/simple/tables/",),
    "/{user}/{index}/+simple/{project}/":               ("/anna/dev/+simple/tables/", "/anna/dev/+simple/numbers/"),
    "/{user}/{index}/+findlinks[/]":                    ("/anna/dev/+findlinks/",),
    "/+at/{at}/{user}/{index}/+simple/":                ("/+at/12/anna/dev/+simple/",),
    "/+at/{at}/{user}/{index}/+simple/{project}/":      ("/+at/12/anna/dev/+simple/tables/",),
}
OF_STRANGERS: Final = {
    "/{user}/{index}/{project}/{version}/+doc/{path...}": "documentation may do what it wants in its sandbox (clients/test_documentation_in_a_browser.py)",
}
ERRORS: Final = ("/nobody/dev", "/anna/nothing", "/anna/dev/nothing", "/anna/dev/tables/9.9", "/anna/dev/tables/+diff?from=9&to=1.1", "/+nothing", "/anna/dev/+promote/tables/1.0?to=anna/nothing")
# fmt: on


class Texts(Protocol):
    """The texts that users and packages decide."""

    def one(self, field: str) -> str:
        """The text of a field."""

    def several(self, field: str) -> Sequence[str]:
        """The texts of a field that has any number of them."""


README = """# Tables

**Tables** reads and writes *tables* of all sizes. See [the manual](https://example.com/manual).

## Use

```python
import tables

for row in tables.read("prices.csv"):
    print(row["price"])
```

| format | reads | writes |
|---|---|---|
| CSV | yes | yes |
| Parquet | yes | no |

1. Install it.
2. Use it.

> A table is a list of rows.
"""


class OrdinaryTexts:
    """What honest people write."""

    _ONE: Final = {
        "name": "Tables", "summary": "Reads and writes tables of all sizes", "description": README, "description_content_type": "text/markdown",
        "author": "Anna Example", "author_email": "anna@example.com", "maintainer": "", "maintainer_email": "", "license_expression": "Apache-2.0", "license": "",
        "keywords": "table,csv,parquet", "home_page": "https://example.com/tables", "download_url": "", "requires_python": ">=3.9", "index title": "Packages of Anna's team",
        "index description": "What the team has not released yet.", "custom_data": "", "yank reason": "writes empty files", "status reason": "columns has taken its place",
        "token name": "ci", "token index": "anna/dev", "token project": "tables", "mail": "ben@example.com", "display name": "Other.Project",
    }  # fmt: skip
    _SEVERAL: Final = {
        "classifiers": ["Development Status :: 4 - Beta", "License :: OSI Approved", "Programming Language :: Python :: 3", "Topic :: Database"],
        "project_urls": ["Source, https://example.com/source", "Changes, https://example.com/changes", "Tracker, https://example.com/tracker"],
        "requires_dist": ["numbers>=1.0", 'colorama>=0.4; sys_platform == "win32"', 'pytest>=8; extra == "test"'], "provides_extras": ["test"],
        "member": ["tables/__init__.py", "tables/reading.py", "tables/writing.py"], "script": ["tables"],
    }  # fmt: skip

    def one(self, field: str) -> str:
        return self._ONE.get(field, "")

    def several(self, field: str) -> Sequence[str]:
        return self._SEVERAL.get(field, ())


@asynccontextmanager
async def full_server(mirrored: MirroredStart, texts: Texts) -> AsyncIterator[Served]:
    """A server with `PAGES`: the indexes of anna over a mirror, files of each kind, releases, documentation, test results, tokens, downloads.

    `root` may do everything, and has the password of tests.
    """
    async with mirrored(default_index=DEV) as world:
        served = world.served
        await served.user("root")
        await served.user("anna")
        mail = User(name="ben", password_hash=hash_of(PASSWORD), email=texts.one("mail"))
        await served.engine.store.apply([PutUser(mail)], who="[test]")
        told = {"title": texts.one("index title"), "description": texts.one("index description")}
        uploaders = ("anna", "root")
        await served.index("anna/live", acl_upload=uploaders, volatile=False, **told)
        await served.index(
            "anna/dev",
            bases=("anna/live", "root/pypi"),
            acl_upload=uploaders,
            custom_data=texts.one("custom_data") or None,
            **told,
        )
        await served.index("anna/empty")
        await _mirror(world, texts)
        for index, version in ((LIVE, "0.9"), (DEV, "1.0"), (DEV, "1.1")):
            await release(served, index, version, texts)
        head = PageHead(display_name="tables", status="deprecated", status_reason=texts.one("status reason"))
        yanked = YankFile(DEV, TABLES, "tables-1.0.tar.gz", texts.one("yank reason"))
        await served.put(build_wheel("other", "2"), index=DEV)
        other = PutProject(DEV, ProjectName("other"), PageHead(display_name=texts.one("display name")))
        await served.engine.store.apply([PutProject(DEV, TABLES, head), yanked, other], who="[test]")
        await _attach(served)
        await served.engine.tokens.make(
            "anna", who="anna", name=texts.one("token name"), indexes=(texts.one("token index"),), projects=(texts.one("token project"),)
        )  # fmt: skip
        await _used(served)
        await served.engine.cataloguing.caught_up()
        yield served


async def release(served: Served, index: IndexName, version: str, texts: Texts) -> None:
    """Put a wheel and a source distribution of `tables` into an index, and their metadata."""
    members = dict.fromkeys(texts.several("member"), b"pass\n")
    scripts = "".join(f"{each} = tables:main\n" for each in texts.several("script"))
    members[f"tables-{version}.dist-info/entry_points.txt"] = f"[console_scripts]\n{scripts}".encode()
    for built in (build_wheel("tables", version, files=members), build_sdist("tables", version)):
        await served.put(built, index=index, requires_python=texts.one("requires_python"))
    values: dict[str, object] = {key: texts.several(key) if key in LISTS else texts.one(key) for key in KEYS}
    metadata = encode_metadata(values | {"version": version})
    record = PutRelease(index, TABLES, Release(version=version, metadata=metadata))
    await served.engine.store.apply([record], who="[test]")


async def _mirror(world: Mirrored, texts: Texts) -> None:
    """A mirrored project, with a page that was asked for."""
    says = {"requires_python": texts.one("requires_python"), "yanked": texts.one("yank reason")}
    world.upstream.add("numbers", build_wheel("numbers", "3.1", description=texts.one("description")))
    world.upstream.add("numbers", build_wheel("numbers", "3.0"), **says)
    await world.get("/root/pypi/+simple/numbers/")


async def _attach(served: Served) -> None:
    """Documentation and a test result of `tables` 1.1."""
    blob = await served.engine.blobs.put(zip_of({"index.html": b"<!DOCTYPE html><title>Tables</title>"}))
    manual = Attachment(
        kind="doczip",
        filename="tables-1.1.doc.zip",
        version="1.1",
        sha256=blob.sha256,
        size=blob.size,
        added=Timestamp(1),
    )
    await served.engine.store.apply([PutAttachment(DEV, TABLES, manual)], who="[test]")
    page = await served.engine.store.page(DEV, TABLES)
    assert page is not None
    wheel = next(file for row in page.rows if (file := decode_file(row.body)).filename.startswith("tables-1.1-"))
    await served.engine.results.add(DEV, TABLES, wheel, _result(), principal=ADMINISTRATOR)


async def _result() -> AsyncIterator[bytes]:
    yield b"[]"


async def _used(served: Served) -> None:
    """Downloads and uploads of the last forty days."""
    now = served.engine.clock.now()
    for ago in range(40):
        clock = ManualClock(Timestamp(now - ago * 86_400_000_000))
        counting = Activity(store=served.engine.store, clock=clock)
        for _ in range(ago * 7 % 11):
            counting.downloaded(DEV, TABLES)
            counting.downloaded(MIRROR, ProjectName("numbers"), fetched=ago % 3 == 0)
        if ago % 9 == 0:
            counting.uploaded(DEV, TABLES)
        await counting.write()
