"""Attestations (PEP 740) over HTTP: taken at upload, verified offline against a real signature, served, and judged by policies."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from pkgindex_core.formats.attestations import MEDIA_TYPE
from pkgindex_core.testing.wheels import build_sdist
from tests.attested import ATTESTATION, FILENAME, PUBLISHER, SDIST, SHA256, attested_parts
from tests.clients.running import executable, run
from tests.http.conftest import HOSTED, PASSWORD, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form

ROOT = basic("root")
GOOD = json.dumps([ATTESTATION])
PATH = f"/integrity/pypi-attestations/0.0.19/{FILENAME}/provenance"
JSON = "application/vnd.pypi.simple.v1+json"


async def upload(served: Served, attestations: str | None = GOOD, **options: Any) -> tuple[int, str]:
    body = encode_form(attested_parts(attestations, **options))
    headers = {"Content-Type": CONTENT_TYPE.decode(), **ROOT}
    async with served.request("POST", "/legacy/", data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def policies(served: Served, *lines: str) -> None:
    await served.index(HOSTED, volatile=False, acl_upload=("root",), options={"policies": list(lines)})


def changed(**parts: Any) -> str:
    wrong = copy.deepcopy(ATTESTATION)
    for path, value in parts.items():
        place = wrong
        *where, last = path.split("__")
        for name in where:
            place = place[name]
        place[last] = value
    return json.dumps([wrong])


async def test_an_attested_upload_is_verified_kept_and_served(serve: Serve) -> None:
    async with serve() as served:
        assert await upload(served) == (200, "")
        async with served.get(PATH) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, MEDIA_TYPE)
            assert answer.headers["X-PkgIndex-Publisher"] == PUBLISHER
            assert answer.headers["Vary"] == "Accept"
            etag, document = answer.headers["ETag"], json.loads(await answer.read())
        assert document == {
            "version": 1,
            "attestation_bundles": [
                {
                    "publisher": {
                        "kind": "GitHub",
                        "repository": "trailofbits/pypi-attestations",
                        "workflow": "release.yml",
                        "environment": None,
                    },
                    "attestations": [ATTESTATION],
                }
            ],
        }
        for accept, status, kind in (
            (MEDIA_TYPE, 200, MEDIA_TYPE),
            ("application/json", 200, "application/json"),
            ("text/html", 406, "text/plain; charset=utf-8"),
        ):
            async with served.get(PATH, headers={"Accept": accept}) as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (status, kind)
        async with served.get(PATH, headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
        async with served.get("/simple/pypi-attestations/", headers={"Accept": JSON}) as answer:
            (file,) = json.loads(await answer.read())["files"]
        async with served.get(urljoin("/simple/pypi-attestations/", file["provenance"])) as answer:
            assert json.loads(await answer.read()) == document
        for wrong in (PATH.replace("0.0.19/", "0.0.18/", 1), PATH.replace(FILENAME, "x-1.0.tar.gz")):
            async with served.get(wrong) as answer:
                assert answer.status == 404


async def test_pages_link_to_it_absolutely_where_the_server_has_an_https_url(serve: Serve) -> None:
    async with serve(outside_url="https://packages.example.test") as served:
        await upload(served)
        link = f"https://packages.example.test/root/dev/+integrity/pypi-attestations/0.0.19/{FILENAME}/provenance"
        async with served.get("/simple/pypi-attestations/", headers={"Accept": JSON}) as answer:
            assert json.loads(await answer.read())["files"][0]["provenance"] == link
        async with served.get("/simple/pypi-attestations/", headers={"Accept": "text/html"}) as answer:
            assert f'data-provenance="{link}"' in await answer.text()
        async with served.get(link.removeprefix("https://packages.example.test")) as answer:
            assert answer.status == 200


async def test_a_bundle_as_gh_writes_it_is_taken(serve: Serve) -> None:
    material, envelope = ATTESTATION["verification_material"], ATTESTATION["envelope"]
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": material["certificate"]},
            "tlogEntries": material["transparency_entries"],
        },
        "dsseEnvelope": {
            "payload": envelope["statement"],
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": envelope["signature"]}],
        },
    }
    async with serve() as served:
        assert await upload(served, json.dumps([bundle])) == (200, "")
        async with served.get(PATH) as answer:
            assert json.loads(await answer.read())["attestation_bundles"][0]["attestations"] == [ATTESTATION]


@pytest.mark.parametrize("client", ["uv", "twine"])
async def test_real_clients_send_the_attestations_beside_a_file(serve: Serve, tmp_path: Path, client: str) -> None:
    file = tmp_path / FILENAME
    file.write_bytes(SDIST)
    proof = tmp_path / f"{FILENAME}.publish.attestation"
    proof.write_text(json.dumps(ATTESTATION))
    async with serve() as served:
        url, environment = f"{served.url}/legacy/", {"TWINE_USERNAME": "root", "TWINE_PASSWORD": PASSWORD}
        words = {
            "uv": ("publish", "--publish-url", url, "--username", "root", "--password", PASSWORD, file, proof),
            "twine": ("upload", "--attestations", "--non-interactive", "--repository-url", url, file, proof),
        }
        done = await run(executable(client), *words[client], env=environment)
        assert done.status == 0, done.output
        async with served.get(PATH) as answer:
            assert answer.headers["X-PkgIndex-Publisher"] == PUBLISHER


_OTHER = build_sdist("pypi-attestations", "0.0.19")


@pytest.mark.parametrize(
    ("attestations", "options", "said"),
    [
        (GOOD, {"data": _OTHER.data}, f"expected the sha256 {_OTHER.sha256}, found {SHA256}"),
        (changed(envelope__signature="AAAA"), {}, "does not hold"),
        (changed(verification_material__certificate="AAAA"), {}, "does not hold"),
        (changed(version=2), {}, "expected version 1 of an attestation, found 2"),
        (json.dumps([ATTESTATION, ATTESTATION]), {}, "two attestations of one type"),
        ("[]", {}, "the field attestations is empty"),
        ("{}", {}, "no JSON array"),
        ('[{"version": 1}]', {}, "cannot be read"),
        ("[" * 5000, {}, "no JSON array"),
    ],
    ids=["other bytes", "signature", "certificate", "version", "twice", "empty", "object", "fields", "deep"],
)
async def test_a_bad_attestation_refuses_the_upload_and_nothing_is_kept(
    serve: Serve, attestations: str, options: dict[str, Any], said: str
) -> None:
    async with serve() as served:
        status, text = await upload(served, attestations, **options)
        assert status == 400
        assert said in text
        assert [blob async for blob in served.engine.blobs.walk()] == []
        assert not await served.engine.store.projects(HOSTED)


async def test_policies_let_only_their_publisher_publish(serve: Serve) -> None:
    async with serve() as served:
        await policies(served, "published-by github:octo/demo//release.yml for pypi-attestations")
        status, text = await upload(served)
        assert status == 400
        assert "expected the repository octo/demo, found trailofbits/pypi-attestations" in text
        status, text = await upload(served, None)
        assert (status, "found none" in text) == (400, True)
        await policies(served, f"published-by {PUBLISHER} for pypi-*")
        assert (await upload(served))[0] == 200


async def test_pages_files_and_provenance_obey_a_policy_that_comes_later(serve: Serve) -> None:
    async with serve() as served:
        await upload(served)
        page = f"/root/dev/+f/{SHA256[:3]}/{SHA256[3:16]}/{FILENAME}"
        for line, status in (("warn", 200), ("block", 404)):
            await policies(served, f"published-by {line} github:octo/demo")
            for path in (page, PATH):
                async with served.get(path) as answer:
                    assert answer.status == status, (line, path)


async def test_a_changed_publisher_raises_the_alarm(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as served:
        before = await served.put(
            build_sdist("pypi-attestations", "0.0.18"), project="pypi-attestations", publisher="github:octo/demo//x.yml"
        )
        with caplog.at_level(logging.WARNING):
            assert (await upload(served))[0] == 200
        sentence = f"the publisher changed with {FILENAME}: expected {before.publisher}, found {PUBLISHER}"
        assert sentence in caplog.text
        async with served.get("/+metrics", headers=ROOT) as answer:
            assert 'pkgindex_publisher_changes_total{index="root/dev"} 1' in await answer.text()
        await policies(served, "publisher-change warn")
        async with served.get("/+explain?project=pypi-attestations", headers={"Accept": "application/json"}) as answer:
            assert sentence in await answer.text()
        await policies(served, "publisher-change block")
        async with served.get("/simple/pypi-attestations/", headers={"Accept": JSON}) as answer:
            assert [each["filename"] for each in json.loads(await answer.read())["files"]] == [before.filename]


async def test_a_file_without_attestations_is_a_change_too(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_sdist("pypi-attestations", "0.0.18"), project="pypi-attestations", publisher=PUBLISHER)
        await policies(served, "publisher-change block")
        status, text = await upload(served, None)
        assert (status, "found none" in text) == (400, True)
        assert (await upload(served))[0] == 200


async def test_without_the_packages_attestations_are_dropped_with_a_warning(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkgindex_core.composition.attesting.is_installed", lambda: False)
    async with serve() as served:
        status, text = await upload(served)
        assert (status, "cannot verify them" in text) == (200, True)
        async with served.get(PATH) as answer:
            assert answer.status == 404
