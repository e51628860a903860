"""The state of the server in a browser: what everybody sees, what only some may, and what programs get."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.advisories.book import FiledBook
from pkgindex_core.errors import StorageFull
from pkgindex_core.protocols.advisories import FeedState
from pkgindex_http.pages.status import span
from tests.http.conftest import MIRROR, MirroredStart, Serve, basic
from tests.http.test_welcome import fill, page

STATUS = "/+status"


async def test_everybody_sees_whether_the_server_works(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await fill(world.served, "numpy", "pandas")
        answer, text = await page(world.served, STATUS)
        assert answer.status == 200
        assert "The server answers, and takes uploads." in text
        serial = await world.served.engine.store.head()
        assert f"<dd>{serial}, of 20" in text
        row = r'<td class="whole"><a href="./root/pypi">root/pypi</a></td><td class="number">{}</td>\s*<td>{}'
        assert re.search(row.format(2, "not asked since this server started"), text)
        await world.page()
        _, text = await page(world.served, STATUS)
        assert re.search(row.format(2, r'<span title="20[^"]* UTC">answered \d+ s ago'), text)


async def test_what_waits_is_for_those_who_may_read_counts_and_the_disk_for_administrators(
    mirrored: MirroredStart, tmp_path: Path
) -> None:
    async with mirrored() as world:
        anna = await world.served.user("anna")
        _, hers = await page(world.served, STATUS, **anna)
        assert "Queues" in hers
        _, text = await page(world.served, STATUS)
        assert "Queues" not in text
        for hidden in ("Disk", str(tmp_path), "Index store", "memory"):
            assert hidden not in text + hers
        await world.served.engine.cataloguing.caught_up()
        _, text = await page(world.served, STATUS, **basic("root", root_password(world.served.engine.context.data)))
        for shown in ("0 under way, 0 waiting", "knows the last commit", "none known", f"Disk of {tmp_path}", "memory"):
            assert shown in text
        assert re.search(r"<dd>[\d.]+ .iB of [\d.]+ .iB are free", text)


def root_password(data: Path) -> str:
    return (data / "root-password").read_text().strip()


async def test_counts_may_be_open_to_everybody(serve: Serve) -> None:
    async with serve(open_metrics=True) as served:
        _, text = await page(served, STATUS)
        assert "Queues" in text
        assert "Disk" not in text


async def test_mirrors_that_one_may_not_read_are_neither_shown_nor_counted(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        anna = await world.served.user("anna")
        await world.change(acl_read=("anna",))
        _, text = await page(world.served, STATUS)
        assert MIRROR not in text
        assert "Mirrors" not in text
        _, text = await page(world.served, STATUS, **anna)
        assert MIRROR in text


async def test_programs_get_the_document(serve: Serve) -> None:
    async with serve() as served:
        for accept in ("*/*", "application/json", "text/html"):
            async with served.get(STATUS, headers={"Accept": accept}) as answer:
                assert (await answer.json())["type"] == "status"


async def test_wrong_credentials_are_told(serve: Serve) -> None:
    async with serve() as served:
        answer, _ = await page(served, STATUS, **basic("root", "wrong"))
        assert answer.status == 401


async def test_a_store_that_cannot_be_written_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise StorageFull("a test says so")

    async with serve() as served:
        monkeypatch.setattr(served.engine.blobs, "put", fails)
        _, text = await page(served, STATUS)
        assert "The server answers, but takes no uploads: the store of files cannot be written." in text


async def test_the_age_of_advisories_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served:
        assert "Advisories" not in (await page(served, STATUS))[1]
        checked = Timestamp(served.engine.clock.now() - 3 * 3600 * 1_000_000)
        state = FeedState(records=1234, feed="https://feed.example/", taken=Timestamp(1), checked=checked)
        monkeypatch.setattr(FiledBook, "state", lambda _: state)
        assert "1,234; the feed last answered 3 h ago" in (await page(served, STATUS))[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119.9, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days"), (1e6, "11 days")],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text
