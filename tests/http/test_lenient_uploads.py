"""Old and odd uploads by both rules: `lenient` takes them with a warning, `pypi` refuses them and says what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutIndex
from pkgindex_core.errors import Conflict
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import build_sdist, build_wheel, core_metadata, tar_gz_of, zip_of
from tests.http.conftest import Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, Part, encode_form, upload_fields, upload_parts

ROOT = basic("root")
JSON = "application/vnd.pypi.simple.v1+json"


async def send(served: Served, parts: list[Part], *, path: str = "/legacy/", accept: str = "*/*") -> tuple[int, str]:
    headers = {"Content-Type": CONTENT_TYPE.decode(), "Accept": accept, **ROOT}
    async with served.request("POST", path, data=io.BytesIO(encode_form(parts)), headers=headers) as answer:
        return answer.status, await answer.text()


async def files(served: Served, project: str, index: str = "root/dev") -> dict[str, Any]:
    async with served.get(f"/{index}/+simple/{project}/", headers={"Accept": JSON}) as answer:
        document: dict[str, Any] = json.loads(await answer.read())
        return document


def form(filename: str, data: bytes, **fields: str) -> list[Part]:
    """Nothing but the action and the file, and `fields`: what `curl -F` sends."""
    given = {":action": "file_upload", **fields}
    return [*((name, None, value.encode()) for name, value in given.items()), ("content", filename, data)]


def tree(name: str, version: str, *, top: str = "", head: str = "Metadata-Version: 1.0\n") -> dict[str, bytes]:
    said = f"{head}Name: {name}\nVersion: {version}\n".encode()
    return {f"{top or f'{name}-{version}'}/{path}": data for path, data in (("PKG-INFO", said), ("setup.py", b""))}


def tar_of(members: Mapping[str, bytes], how: str) -> bytes:
    plain = gzip.decompress(tar_gz_of(members))
    return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[how](plain)


EGG = zip_of({"EGG-INFO/PKG-INFO": core_metadata("Old.Egg", "1.0-final", metadata_version="1.0"), "old.py": b""})
DUMB = tar_gz_of({"./usr/lib/python2.7/old-1.0.egg-info": core_metadata("old", "1.0", metadata_version="1.0")})
LATIN = tree("latin", "1.0", head="Metadata-Version: 1.1\nAuthor: J\xfcrgen\n")
LATIN["latin-1.0/PKG-INFO"] = LATIN["latin-1.0/PKG-INFO"].decode().encode("latin-1")

OLD: list[tuple[str, bytes, str, str, str]] = [
    ("my-package-1.0.tar.gz", tar_of(tree("my-package", "1.0"), "gz"), "my-package", "1.0", "'my_package-1.0.tar.gz'"),
    ("My.Package-1.0.tar.gz", tar_of(tree("My.Package", "1.0"), "gz"), "my-package", "1.0", "'my_package-1.0.tar.gz'"),
    ("foo-1.0.zip", zip_of(tree("foo", "1.0")), "foo", "1.0", "'foo-1.0.tar.gz'"),
    ("foo-1.0.tgz", tar_of(tree("foo", "1.0"), "gz"), "foo", "1.0", "'foo-1.0.tar.gz'"),
    ("foo-1.0.tar.bz2", tar_of(tree("foo", "1.0"), "bz2"), "foo", "1.0", "'foo-1.0.tar.gz'"),
    ("foo-1.0.tar.xz", tar_of(tree("foo", "1.0"), "xz"), "foo", "1.0", "'foo-1.0.tar.gz'"),
    ("foo-1.0.tar.Z", b"\x1f\x9d\x90", "foo", "1.0", "'foo-1.0.tar.gz'"),
    ("pytz-2004d.tar.gz", tar_of(tree("pytz", "2004d"), "gz"), "pytz", "2004d", "PEP 440"),
    ("foo-1.0_final.tar.gz", tar_of(tree("foo", "1.0_final"), "gz"), "foo", "1.0_final", "PEP 440"),
    ("a-b-one-two.tar.gz", tar_of(tree("a-b-one", "two"), "gz"), "a-b-one", "two", "PEP 440"),
    ("Old.Egg-1.0_final-py2.7.egg", EGG, "old-egg", "1.0-final", "build a wheel"),
    ("old-1.0.linux-x86_64.tar.gz", DUMB, "old", "1.0", "build a wheel"),
    ("old-1.0.win32-py2.5.exe", b"MZ\x90\0" * 50, "old", "1.0", "build a wheel"),
    ("old-1.0.win32.msi", bytes.fromhex("d0cf11e0a1b11ae1") * 9, "old", "1.0", "build a wheel"),
    ("old-1.0-1.noarch.rpm", bytes.fromhex("edabeedb") * 9, "old", "1.0", "build a wheel"),
    ("old_1.0-1_all.deb", b"!<arch>\n" * 9, "old", "1.0", "build a wheel"),
    ("old-1.0.dmg", b"koly" * 9, "old", "1.0", "build a wheel"),
    ("latin-1.0.tar.gz", tar_of(LATIN, "gz"), "latin", "1.0", "UTF-8"),
    ("foo-1.0.tar.gz", tar_of({"foo-1.0/setup.py": b""}, "gz"), "foo", "1.0", "no file 'foo-1.0/PKG-INFO'"),
    ("foo-1.0.tar.gz", tar_of(tree("foo", "1.0", head="License: a\nb\n"), "gz"), "foo", "1.0", "is not a header"),
    ("foo-1.0.tar.gz", tar_of(tree("foo", "1.0", head=""), "gz"), "foo", "1.0", "no metadata-version"),
]  # fmt: skip


@pytest.mark.parametrize(("filename", "data", "project", "version", "said"), OLD, ids=[case[0] for case in OLD])
async def test_files_of_every_age_need_nothing_but_the_file(
    serve: Serve, filename: str, data: bytes, project: str, version: str, said: str
) -> None:
    async with serve() as served:
        await served.index("root/strict", upload_rules="pypi", acl_upload=("root",))
        status, text = await send(served, form(filename, data), path="/root/strict/")
        assert (status, said in text) == (400, True), text
        assert not await served.engine.store.projects(IndexName("root/strict"))
        for field, value in (("name", "other"), ("version", "9.9"), ("sha256_digest", "0" * 64)):
            assert (await send(served, form(filename, data, **{field: value})))[0] == 400
        assert not await served.engine.store.projects(IndexName("root/dev"))
        status, text = await send(served, form(filename, data))
        assert (status, said in text) == (200, True), text
        head = await served.engine.store.head()
        page = await files(served, project)
        assert ([file["filename"] for file in page["files"]], page["versions"]) == ([filename], [version])
        release = await served.engine.store.release(IndexName("root/dev"), ProjectName(project), version)
        assert release is not None
        said_of_it = json.loads(release.metadata)
        assert said_of_it["version"] == version
        assert said_of_it["author"] == ("Jürgen" if project == "latin" else "")
        async with served.get(f"/root/dev/+simple/{project}/{page['files'][0]['url']}") as answer:
            assert await answer.read() == data
        # The same again changes nothing.
        assert (await send(served, form(filename, data)))[0] == 200
        assert await served.engine.store.head() == head


METADATA = {
    "Metadata-Version: 2.0": "metadata-version '2.0'",
    "Metadata-Version: 3.0": "metadata-version '3.0'",
    "Requires-Dist: pytz (>dev)": "'pytz (>dev)'",
    "Requires-Dist: torch (>=1.7.*)": "'torch (>=1.7.*)'",
    "Requires-Python: >=3.6.*": "'>=3.6.*'",
    "Description-Content-Type: text/md": "'text/md'",
    "Home-Page: corp-wiki/foo": "'corp-wiki/foo'",
    "Project-URL: Issue tracker of the whole platform team, https://issues.example.org/": "longer than 32",
    "Author-Email: Jane": "no mail address",
    "License: one\nLicense: two": "license stands",
}


@pytest.mark.parametrize(("line", "said"), METADATA.items(), ids=list(METADATA))
async def test_metadata_of_wheels_that_pypi_refuses(serve: Serve, line: str, said: str) -> None:
    number = line.removeprefix("Metadata-Version: ") if line.startswith("Metadata") else "2.1"
    extra = "" if line.startswith("Metadata") else line
    built = build_wheel("demo", "1.0", metadata_version=number, metadata_extra=extra)
    async with serve() as served:
        await served.index("root/strict", upload_rules="pypi", acl_upload=("root",))
        status, text = await send(served, upload_parts(built), path="/root/strict/")
        assert (status, said in text) == (400, True), text
        status, text = await send(served, upload_parts(built))
        assert (status, said in text) == (200, True), text
        (file,) = (await files(served, "demo"))["files"]
        assert "requires-python" not in file
        async with served.get(f"/root/dev/+simple/demo/{file['url']}.metadata") as sidecar:
            assert await sidecar.read() == built.metadata


async def test_a_version_that_pep_440_does_not_know_is_listed_last(serve: Serve) -> None:
    async with serve() as served:
        for name, version in (
            ("pytz-2004d.tar.gz", "2004d"),
            ("pytz-1.0.tar.gz", "1.0"),
            ("pytz-2024.1.tar.gz", "2024.1"),
        ):
            assert (await send(served, form(name, tar_of(tree("pytz", version), "gz"))))[0] == 200
        assert (await files(served, "pytz"))["versions"] == ["2004d", "1.0", "2024.1"]
        async with served.get("/root/dev/pytz", headers={"Accept": "application/json"}) as answer:
            assert "2004d" in json.loads(await answer.read())["result"]
        async with served.get("/root/dev/pytz/2004d", headers={"Accept": "application/json"}) as answer:
            assert json.loads(await answer.read())["result"]["version"] == "2004d"


async def test_names_that_disagree_are_refused_by_both_rules(serve: Serve) -> None:
    """However the filename may be cut, what is inside must be one of its readings."""
    async with serve() as served:
        for filename, name, version in (
            ("my-package-1.0.tar.gz", "my", "1.0"),
            ("my-package-1.0.tar.gz", "my-package", "1.1"),
            ("foo-2004d.zip", "foo", "2004e"),
            ("foo-2004d.zip", "bar", "2004d"),
        ):
            data = (zip_of if filename.endswith(".zip") else tar_gz_of)(tree(name, version))
            status, text = await send(served, form(filename, data))
            assert (status, "metadata inside" in text) == (400, True), text
        assert not await served.engine.store.projects(IndexName("root/dev"))


@pytest.mark.parametrize(
    ("filename", "data", "because"),
    [
        ("old-1.0.win32.exe", b"#!/bin/sh\n", "not a Windows program"),
        ("old-1.0-1.noarch.rpm", b"", "not an RPM"),
        ("foo-1.0.tar.bz2", gzip.compress(b"x", mtime=0), "not a bzip2-compressed tar"),
        ("foo-1.0.zip", tar_of(tree("foo", "1.0"), "gz"), "not a zip file"),
        ("foo-1.0.zip", zip_of({"foo-1.0/../../evil": b""}), "leaves the archive"),
        ("foo-1.0.tar.bz2", tar_of({**tree("foo", "1.0"), "foo-1.0/../../evil": b""}, "bz2"), "leaves the archive"),
        ("foo-1.0.tar.xz", lzma.compress(bytes(80 * 1024 * 1024)), "bytes follow the end|bomb"),
        ("foo-1.0.tar.bz2", bz2.compress(b"x" * 512) * 2, "not a tar archive"),
        ("foo-1.0-py2.7.egg", zip_of({"EGG-INFO/PKG-INFO": b"Name: foo\nVersion: 1.0\n", "/etc/x": b""}), "absolute"),
        ("foo-1.0-py2.7.egg", zip_of({"foo.py": b""}), "no EGG-INFO/PKG-INFO"),
        ("foo-1.0.linux-x86_64.tar.gz", tar_gz_of({"../evil": b""}), "leaves the archive"),
    ],
)  # fmt: skip
async def test_what_is_dangerous_in_an_old_format_is_refused(
    serve: Serve, filename: str, data: bytes, because: str
) -> None:
    async with serve() as served:
        status, text = await send(served, form(filename, data))
        assert status == 400
        assert any(reason in text for reason in because.split("|")), text
        assert [blob async for blob in served.engine.blobs.walk()] == []


async def test_a_second_sdist_of_a_release_comes_in_another_format_only(serve: Serve) -> None:
    async with serve() as served:
        for filename, status in (
            ("foo-1.0.tar.gz", 200),
            ("foo-1.0.zip", 200),
            ("Foo-1.0.tar.gz", 400),
            ("foo-1.zip", 400),
        ):
            version = "1" if filename == "foo-1.zip" else "1.0"
            data = (zip_of if filename.endswith(".zip") else tar_gz_of)(tree("foo", version))
            got, text = await send(served, form(filename, data))
            assert got == status, text
            assert status == 200 or text.startswith("File already exists")


async def test_a_token_for_one_project_publishes_no_other_by_a_name_that_reads_two_ways(serve: Serve) -> None:
    async with serve() as served:
        text, _ = await served.engine.tokens.make("root", who="[test]", projects=("a",))
        headers = {"Content-Type": CONTENT_TYPE.decode(), **basic("__token__", text)}
        for project, version, status in (("a-b-one", "two", 403), ("a", "b-one-two", 200)):
            data = tar_gz_of(tree(project, version))
            body = io.BytesIO(encode_form(form("a-b-one-two.tar.gz", data)))
            async with served.request("POST", "/legacy/", data=body, headers=headers) as answer:
                assert answer.status == status, await answer.text()


async def test_the_rules_may_not_change_during_an_upload(serve: Serve) -> None:
    """What was taken leniently is not committed to an index that became strict meanwhile."""
    async with serve() as served:
        index = IndexName("root/dev")
        config = (await served.engine.store.tree()).indexes[index]
        data = zip_of(tree("foo", "1.0"))
        async with served.engine.uploads.receive(index, Principal(name="root")) as upload:
            upload.field(":action", "file_upload")
            await upload.begin_content("foo-1.0.zip")
            await upload.write(data)
            await served.engine.store.apply([PutIndex(replace(config, upload_rules="pypi"))], who="[test]")
            with pytest.raises(Conflict, match="changed during the upload"):
                await upload.finish()
        assert not await served.engine.store.projects(index)


async def test_every_part_that_is_dropped_is_named(serve: Serve) -> None:
    built = build_wheel("demo", "1.0")
    more: list[Part] = [
        ("gpg_signature", "demo.asc", b"x"),
        ("colour", None, b"red"),
        ("comment", None, b"fine"),
    ]
    async with serve() as served:
        status, text = await send(served, [*more, *upload_parts(built)])
        assert status == 200
        assert text.splitlines() == [
            "the signature was ignored: this server keeps none, as PyPI since 2023",
            "fields that this server does not know were ignored: 'colour'",
        ]


async def test_a_program_gets_the_warnings_as_json(serve: Serve) -> None:
    built = build_sdist("my-package", "1.0")
    async with serve() as served:
        fields = {**upload_fields(built), "name": "my-package"}
        parts = upload_parts(built, fields=fields, filename="my-package-1.0.tar.gz")
        status, text = await send(served, parts, accept="application/json;q=0.9, text/plain;q=0.8")
        document = json.loads(text)
        assert (status, document["created"], document["filename"], document["version"]) == (
            200,
            True,
            "my-package-1.0.tar.gz",
            "1.0",
        )
        assert (document["index"], document["project"]) == ("root/dev", "my-package")
        assert any("'my_package-1.0.tar.gz'" in warning for warning in document["warnings"])
        assert document["message"] == "; ".join(document["warnings"])


def test_tarfile_reads_what_the_tests_pack() -> None:
    for how in ("gz", "bz2", "xz"):
        with tarfile.open(fileobj=io.BytesIO(tar_of(tree("a", "1"), how))) as archive:
            assert archive.getnames() == ["a-1/PKG-INFO", "a-1/setup.py"]
