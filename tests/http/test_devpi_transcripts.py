"""What devpi-server answers, we answer: its recorded transcripts are played against this server, and every difference is a decision.

`tests/golden/devpi/*.json` are the transcripts (`transcripts`, `record_transcripts`), `differences.json` beside them lists where
we answer otherwise on purpose, with one line of reason each. A difference that is not listed fails, and so does one that is
listed and does not exist.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.conftest import Tally
from tests.http.conftest import Serve
from tests.http.transcripts import DIRECTORY, FILES, Player, read

_DIFFERENCES = DIRECTORY / "differences.json"


def test_the_transcripts_are_complete() -> None:
    """Every exchange is named once in its file and was recorded, and every listed difference has an exchange and a reason."""
    names = set()
    for path in FILES:
        exchanges = read(path)["exchanges"]
        said = [f"{path.stem}: {exchange['says']}" for exchange in exchanges]
        assert len(set(said)) == len(said)
        assert all(exchange["answer"]["status"] for exchange in exchanges)
        names.update(said)
    listed = read(_DIFFERENCES)
    assert set(listed) <= names
    assert [name for name, entry in listed.items() if not entry["why"]] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_devpi_s_answers_are_ours(serve: Serve, path: Path, tally: Tally) -> None:
    """With devpi's own defaults (an empty root password, open registration) the same requests get the same answers."""
    transcript = read(path)
    listed = read(_DIFFERENCES)
    seen: dict[str, dict[str, Any]] = {}
    async with (
        ScriptedUpstream() as upstream,
        serve(mirrors=True, root_password="", open_registration=True) as served,
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
    ):
        upstream.add("up", build_wheel("up", "1.0"))
        player = Player(session, served.url, upstream=upstream.url)
        for exchange in transcript["exchanges"]:
            request = exchange["request"]
            ours = difference(exchange["answer"], await player.play(request), request["path"])
            if ours:
                seen[f"{path.stem}: {exchange['says']}"] = ours
    tally("exchanges of devpi's transcripts", len(transcript["exchanges"]))
    wanted = {name: entry["ours"] for name, entry in listed.items() if name.startswith(f"{path.stem}: ")}
    if os.environ.get("PKGINDEX_WRITE_GOLDEN"):
        _write(seen, listed, path.stem)
    assert seen == wanted


def difference(theirs: dict[str, Any], ours: dict[str, Any], path: str) -> dict[str, Any]:
    """Those parts of our answer to a request for this path that are not what devpi said.

    Passed over: what else a shown header lists; what a page for persons looks like, and the words in which devpi's framework refuses; a `hint` beside a message; the
    order of links; whether a URL is relative; what a page of the simple API says beyond devpi's, and what devpi leaves empty there.
    """
    theirs, ours = _comparable(theirs, path), _comparable(ours, path)
    parts = ["status", "type", "reason", "location", "body"]
    for name, value in (theirs["shown"] or {}).items():
        if isinstance(value, list) and set(value) <= set(ours["shown"][name] or ()):
            ours["shown"][name] = value
    if theirs["body"] == "<a page for a person>" or (isinstance(theirs["body"], dict) and "title" in theirs["body"]):
        parts = ["status", "reason", "location"]
    elif isinstance(theirs["body"], dict) and not {"result", "message"} & set(theirs["body"]):
        ours["body"] = _shared(theirs["body"], ours["body"])
        theirs["body"] = _shared(theirs["body"], theirs["body"])
    return {part: ours[part] for part in [*parts, "shown"] if theirs[part] != ours[part]}


def _comparable(answer: dict[str, Any], path: str) -> dict[str, Any]:
    here = f"http://host{path}"
    headers = answer.get("headers", {})
    kind, body = answer["type"], answer["body"]
    if kind == "application/json":
        assert headers["x-devpi-api-version"] == "2"
    else:
        kind = kind.partition(";")[0] if body else ""
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if key != "hint" or "message" not in body}
    return {
        "status": answer["status"],
        "type": kind,
        "reason": answer.get("reason"),
        "shown": answer.get("shown"),
        "location": urljoin(here, headers["location"]) if "location" in headers else "",
        "body": _without_order(body, here),
    }


def _without_order(value: Any, here: str) -> Any:
    if isinstance(value, dict):
        plain = {key: _without_order(each, here) for key, each in value.items()}
        return {key: urljoin(here, each) if key in {"href", "url"} else each for key, each in plain.items()}
    if isinstance(value, list):
        plain = [_without_order(each, here) for each in value]
        key = next(
            (name for name in ("href", "url") if plain and isinstance(plain[0], dict) and name in plain[0]), None
        )
        return sorted(plain, key=lambda each: each[key]) if key else plain
    return value


def _shared(theirs: Any, ours: Any) -> Any:
    """Ours, as far as devpi says anything: keys that it has and does not leave empty; its version of the API is older."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return {key: _shared(value, ours.get(key)) for key, value in theirs.items() if value and key != "api-version"}
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [_shared(*pair) for pair in zip(theirs, ours, strict=True)]
    return ours


def _write(seen: dict[str, Any], listed: dict[str, Any], stem: str) -> None:
    """Write down the differences of one transcript. New ones get no reason: a person has to find one."""
    kept = {name: entry for name, entry in listed.items() if not name.startswith(f"{stem}: ")}
    new = {name: {"why": listed.get(name, {}).get("why", ""), "ours": ours} for name, ours in seen.items()}
    _DIFFERENCES.write_text(json.dumps({**kept, **new}, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
