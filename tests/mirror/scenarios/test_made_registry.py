"""The registry that mirrors are tried on answers as PyPI does, has the faults that it says, and is as it was when they are undone."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable

import pytest
from msgspec import Struct

from benchmarks import faults
from benchmarks.made_registry import FIRST_SERIAL, MadeRegistry, Undo
from tests.mirror.scenarios.conftest import Upstream

JSON = "application/vnd.pypi.simple.v1+json"


class Answer(Struct):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(upstream: Upstream, path: str, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", upstream.server.port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def test_the_list_has_serials_and_names_as_they_are_spelled(upstream: Upstream) -> None:
    found = ask(upstream, "/simple/", Accept=JSON)
    document = json.loads(found.body)
    assert found.headers["content-type"] == JSON
    assert found.headers["x-pypi-last-serial"] == str(FIRST_SERIAL + 24)
    assert document["meta"] == {"_last-serial": FIRST_SERIAL + 24, "api-version": "1.4"}
    assert [each["name"] for each in document["projects"]][:3] == ["Alpha.00000", "alpha-00010", "alpha-00020"]
    assert ask(upstream, "/simple", Accept=JSON).headers["location"] == "/simple/"
    assert ask(upstream, "/simple/", Accept=JSON, If_None_Match=found.headers["etag"]).status == 304
    packed = ask(upstream, "/simple/", Accept=JSON, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"


def test_page_document_and_files_agree(upstream: Upstream) -> None:
    page = ask(upstream, "/simple/alpha-00000/", Accept=JSON)
    document = ask(upstream, "/pypi/alpha-00000/json")
    html = ask(upstream, "/simple/alpha-00000/")
    serial = str(json.loads(document.body)["last_serial"])
    assert page.headers["x-pypi-last-serial"] == document.headers["x-pypi-last-serial"] == serial
    assert document.headers["content-type"] == "application/json"
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    described = {file["filename"]: file for each in json.loads(document.body)["releases"].values() for file in each}
    files = json.loads(page.body)["files"]
    assert [file["filename"] for file in files] == list(described)
    for file in files:
        path = file["url"].removeprefix(upstream.server.url)
        assert f'href="{file["url"]}#sha256={file["hashes"]["sha256"]}"'.encode() in html.body
        sent = ask(upstream, path).body
        assert hashlib.sha256(sent).hexdigest() == file["hashes"]["sha256"]
        assert described[file["filename"]]["digests"]["sha256"] == file["hashes"]["sha256"]
        assert len(sent) == file["size"]
        blake2b = hashlib.blake2b(sent, digest_size=32).hexdigest()
        assert path == f"/packages/{blake2b[:2]}/{blake2b[2:4]}/{blake2b[4:]}/{file['filename']}"
        if file["core-metadata"]:
            sidecar = ask(upstream, f"{path}.metadata").body
            assert hashlib.sha256(sidecar).hexdigest() == file["core-metadata"]["sha256"]
    assert upstream.server.requests()[-1].startswith("200 GET /packages/")


def test_a_project_that_is_not_there_is_not_found(upstream: Upstream) -> None:
    assert ask(upstream, "/simple/nothing/", Accept=JSON).status == 404
    assert ask(upstream, "/pypi/nothing/json").status == 404


def test_names_may_be_added_to_the_list_without_pages(upstream: Upstream) -> None:
    more = MadeRegistry(upstream.registry.root, upstream.server.url)
    more.fill(24, 95, padding=1_000)
    found = json.loads(ask(upstream, "/simple/", Accept=JSON).body)["projects"]
    assert len({each["name"] for each in found}) == 1_024


def _first(registry: MadeRegistry) -> str:
    return registry.projects["beta-00001"].files[0].filename


CHANGES: dict[str, Callable[[MadeRegistry], Undo]] = {
    "release": faults.release,
    "delete": lambda registry: faults.delete(registry, ["beta-00001", "tau-00009"]),
    "remove file": lambda registry: faults.remove_file(registry, "beta-00001", _first(registry)),
    "yank": lambda registry: faults.yank(registry, "beta-00001", _first(registry), "wrong"),
    "quarantine": lambda registry: faults.quarantine(registry, "beta-00001"),
    "unavailable": lambda registry: faults.poison(registry, "beta-00001", "unavailable"),
    "broken": lambda registry: faults.poison(registry, "beta-00001", "broken"),
    "stale": lambda registry: faults.poison(registry, "beta-00001", "stale"),
    "cut": lambda registry: faults.cut(registry, _first(registry)),
    "shorten": lambda registry: faults.shorten(registry, _first(registry)),
    "garble": lambda registry: faults.garble(registry, _first(registry)),
    "halve list": faults.halve_list,
}


def _shown(upstream: Upstream, file: str) -> dict[str, object]:
    """What can be seen of the registry: its list, some projects, and a file."""
    seen: dict[str, object] = {}
    for path in ("/simple/", *(f"/simple/{name}/" for name in ("alpha-00000", "beta-00001", "tau-00009"))):
        answer = ask(upstream, path, Accept=JSON)
        seen[path] = (answer.status, answer.headers.get("etag"), answer.headers.get("x-pypi-last-serial"), answer.body)
    seen["document"] = ask(upstream, "/pypi/beta-00001/json").body
    try:
        seen["file"] = ask(upstream, file).body
    except http.client.IncompleteRead as error:
        seen["file"] = repr(error)
    return seen


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_undone_never_happened(upstream: Upstream, change: str) -> None:
    file = upstream.registry.projects["beta-00001"].files[0].path
    before = _shown(upstream, file)
    undo = CHANGES[change](upstream.registry)
    assert _shown(upstream, file) != before
    undo()
    assert _shown(upstream, file) == before
    CHANGES[change](upstream.registry)()
    assert _shown(upstream, file) == before


def test_a_change_has_a_new_serial_in_list_and_page(upstream: Upstream) -> None:
    faults.release(upstream.registry, share=0.1)
    projects = json.loads(ask(upstream, "/simple/", Accept=JSON).body)["projects"]
    listed = {each["name"]: each["_last-serial"] for each in projects}
    changed = {name for name, serial in listed.items() if serial > FIRST_SERIAL + 24}
    assert changed == {"Alpha.00000", "epsilon-00014", "sigma-00008"}
    for name in changed:
        normal = name.lower().replace(".", "-")
        assert ask(upstream, f"/simple/{normal}/", Accept=JSON).headers["x-pypi-last-serial"] == str(listed[name])


def test_a_stale_page_is_older_than_the_list_says(upstream: Upstream) -> None:
    faults.poison(upstream.registry, "beta-00001", "stale")
    page = ask(upstream, "/simple/beta-00001/", Accept=JSON)
    assert page.headers["x-pypi-last-serial"] == str(upstream.registry.projects["beta-00001"].serial - 1)
    faults.recover(upstream.registry, "beta-00001")
    page = ask(upstream, "/simple/beta-00001/", Accept=JSON)
    assert page.headers["x-pypi-last-serial"] == str(upstream.registry.projects["beta-00001"].serial)


def test_poisoned_pages_are_unavailable_or_broken(upstream: Upstream) -> None:
    faults.poison(upstream.registry, "beta-00001", "unavailable")
    assert ask(upstream, "/simple/beta-00001/", Accept=JSON).status == 503
    assert ask(upstream, "/pypi/beta-00001/json").status == 503
    faults.poison(upstream.registry, "gamma-00002", "broken")
    with pytest.raises(json.JSONDecodeError):
        json.loads(ask(upstream, "/simple/gamma-00002/", Accept=JSON).body)


def test_a_project_in_quarantine_keeps_an_empty_page(upstream: Upstream) -> None:
    faults.quarantine(upstream.registry, "beta-00001")
    page = json.loads(ask(upstream, "/simple/beta-00001/", Accept=JSON).body)
    assert page["project-status"] == {"status": "quarantined"}
    assert page["files"] == []
    assert ask(upstream, "/pypi/beta-00001/json").status == 404
    assert b"beta-00001" not in ask(upstream, "/simple/", Accept=JSON).body


def test_a_cut_file_is_announced_as_a_whole_and_can_be_resumed(upstream: Upstream) -> None:
    file = upstream.registry.projects["beta-00001"].files[0]
    whole = ask(upstream, file.path).body
    faults.cut(upstream.registry, file.filename)
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(upstream, file.path)
    assert cut.value.partial == whole[: len(whole) // 2]
    rest = ask(upstream, file.path, Range=f"bytes={len(whole) // 2}-")
    assert rest.status == 206
    assert rest.body == whole[len(whole) // 2 :]


def test_half_a_list_still_has_all_pages(upstream: Upstream) -> None:
    faults.halve_list(upstream.registry)
    assert len(json.loads(ask(upstream, "/simple/", Accept=JSON).body)["projects"]) == 12
    assert ask(upstream, "/simple/tau-00019/", Accept=JSON).status == 200
