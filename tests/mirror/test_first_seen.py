"""Upload times of files of which the upstream tells none: unknown, or when they were first listed here if that is chosen."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.documents import plain_pages
from pkgindex_mirror.testing import ScriptedUpstream

from .conftest import DEMO, INDEX, MakeMirror, Mirror

OLD, NEW, TIMED = (build_wheel("demo", version) for version in ("1.0", "2.0", "3.0"))


async def shown(mirror: Mirror) -> dict[str, bool]:
    """Whether each file's entry has the upload time, by filename."""
    page = await mirror.store.page(INDEX, DEMO)
    assert page is not None
    return {row.filename: b'"upload-time"' in row.fragment for row in page.rows}


@pytest.mark.parametrize("kept", [True, False], ids=["in one piece", "in rows"])
@pytest.mark.parametrize("speaks", ["json", "html"])
async def test_the_first_time_stays(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch, speaks: Any, *, kept: bool
) -> None:
    if not kept:
        monkeypatch.setattr(plain_pages, "KEPT_BYTES", 0)
    upstream.speaks = speaks
    upstream.add("demo", OLD, upload_time=None)
    mirror = await make_mirror(upstream.url, config={"upload_time": "first-seen", "mirror_cache_expiry": 0})
    first = mirror.clock.now()
    await mirror.refresh()
    file = await mirror.file(OLD.filename)
    assert (file.upload_time, file.first_seen) == (None, first)
    page = await mirror.store.page(INDEX, DEMO)
    assert page is not None
    (row,) = page.rows
    assert f'"upload-time":"{to_rfc3339(first)}"'.encode() in row.fragment
    mirror.clock.advance(5000)
    second = mirror.clock.now()
    upstream.add("demo", NEW, upload_time=None)
    await mirror.refresh()
    assert {name: each.first_seen for name, each in (await mirror.files()).items()} == {
        OLD.filename: first,
        NEW.filename: second,
    }
    # The same page again is no change.
    head = await mirror.store.head()
    upstream.gives_validators = False
    mirror.clock.advance(5000)
    await mirror.refresh()
    assert await mirror.store.head() == head


async def test_an_upstreams_own_time_is_an_upload_time(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", TIMED)
    upstream.add("demo", OLD, upload_time=None)
    mirror = await make_mirror(upstream.url, config={"upload_time": "first-seen", "mirror_cache_expiry": 0})
    await mirror.refresh()
    timed = await mirror.file(TIMED.filename)
    assert timed.upload_time is not None
    assert timed.first_seen is None
    # Now the upstream tells the other one's as well.
    upstream.projects["demo"][1].says.pop("upload-time")
    await mirror.refresh()
    told = await mirror.file(OLD.filename)
    assert (told.upload_time, told.first_seen) == (timed.upload_time, None)


async def test_the_option_takes_effect_at_the_next_question(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", OLD, upload_time=None)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0})
    await mirror.refresh()
    assert await shown(mirror) == {OLD.filename: False}
    mirror = await mirror.changed(upload_time="first-seen")
    await mirror.refresh()
    assert await shown(mirror) == {OLD.filename: True}
    asked = upstream.count("page")
    await mirror.refresh()
    assert "If-None-Match" in upstream.asked[-1].headers
    assert upstream.count("page") == asked + 1
    mirror = await mirror.changed(upload_time="upstream")
    await mirror.refresh()
    assert await shown(mirror) == {OLD.filename: False}


async def test_a_policy_by_first_seen_counts_all_files_and_mixes_no_times(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    uploaded = "2020-01-01T00:00:00Z"
    upstream.add("demo", OLD, upload_time=uploaded)
    config = {"mirror_cache_expiry": 0, "policies": ["cooldown 7d by first-seen"]}
    mirror = await make_mirror(upstream.url, config=config)
    first = mirror.clock.now()
    await mirror.refresh()
    mirror.clock.advance(5000)
    upstream.add("demo", NEW, upload_time=uploaded)
    await mirror.refresh()
    files = await mirror.files()
    assert {name: file.first_seen for name, file in files.items()} == {
        OLD.filename: first,
        NEW.filename: mirror.clock.now(),
    }
    assert {to_rfc3339(file.upload_time) for file in files.values() if file.upload_time} == {uploaded}
    mirror = await mirror.changed(policies=[])
    await mirror.refresh()
    assert {file.first_seen for file in (await mirror.files()).values()} == {None}
