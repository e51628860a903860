"""Namespaces over HTTP (PEP 752): pages of version 1.5, the two URLs, and refused names."""

import json
from typing import Any

from pkgindex_core.names import IndexName
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.http.conftest import Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

ROOT = basic("root")
TEAM = IndexName("root/team")


async def asked(served: Served, path: str) -> tuple[int, Any]:
    async with served.get(path, headers={"Accept": JSON_V1}) as answer:
        body = await answer.read()
        return answer.status, json.loads(body) if body.startswith((b"{", b"[")) else body.decode()


async def upload(served: Served, index: str, file: BuiltFile) -> tuple[int, str]:
    body, headers = encode_form(upload_parts(file)), {**ROOT, "Content-Type": CONTENT_TYPE.decode()}
    async with served.request("POST", f"/{index}/", data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_pages_and_documents(serve: Serve) -> None:
    async with serve() as served:
        await served.index("root/team", namespaces=("acme", "acme-labs"), acl_upload=("root",), volatile=False)
        await served.index("root/top", bases=(TEAM,), acl_upload=("root",), volatile=False)
        await served.put(build_wheel("acme-labs-x", "1.0"), index=TEAM, project="acme-labs-x")
        await served.put(build_wheel("free", "1.0"), index=TEAM, project="free")
        _, page = await asked(served, "/root/top/+simple/acme-labs-x/")
        assert page["meta"]["api-version"] == "1.5"
        assert page["namespaces"] == [{"name": "acme", "owned": True}, {"name": "acme-labs", "owned": True}]
        _, page = await asked(served, "/root/top/+simple/free/")
        assert (page["meta"]["api-version"], page["namespaces"]) == ("1.5", None)
        assert await asked(served, "/root/top/+simple/namespaces") == (200, [{"name": "acme"}, {"name": "acme-labs"}])
        wanted = {"name": "acme", "parent": None, "children": ["acme-labs"], "owner": "root/team"}
        assert await asked(served, "/root/top/+simple/namespace/acme") == (200, wanted)
        assert (await asked(served, "/root/top/+simple/namespace/other"))[0] == 404


async def test_an_index_without_namespaces_says_nothing_of_them(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("namespaces", "1.0"))
        _, page = await asked(served, "/simple/namespaces/")
        assert page["meta"]["api-version"] == "1.4"
        assert "namespaces" not in page
        assert (await asked(served, "/simple/namespaces"))[0] in {301, 302, 307, 308}
        assert (await asked(served, "/simple/namespace/acme"))[0] == 404


async def test_a_name_in_the_namespace_of_another_index_is_refused(serve: Serve) -> None:
    async with serve() as served:
        await served.index("root/team", namespaces=("acme",), acl_upload=("root",), volatile=False)
        await served.index("root/top", bases=(TEAM,), acl_upload=("root",), volatile=False)
        old = build_wheel("acme-old", "1.0")
        await served.put(old, index=IndexName("root/top"), project="acme-old")
        status, said = await upload(served, "root/top", build_wheel("acme-new", "1.0"))
        assert (status, "acme-new is in the namespace acme of root/team" in said) == (409, True)
        assert (await asked(served, "/root/top/+simple/acme-new/"))[0] == 404
        assert (await upload(served, "root/top", build_wheel("acme-old", "2.0")))[0] == 200
        assert (await upload(served, "root/team", build_wheel("acme-new", "1.0")))[0] == 200
        _, page = await asked(served, "/root/top/+simple/acme-old/")
        assert page["namespaces"] == [{"name": "acme", "owned": False}]
        await served.index("root/apart", acl_upload=("root",), volatile=False)
        await served.put(build_wheel("acme-pushed", "1.0"), index=IndexName("root/apart"), project="acme-pushed")
        push = {"name": "acme-pushed", "version": "1.0", "targetindex": "root/top"}
        async with served.request("POST", "/root/apart", json=push, headers=ROOT) as answer:
            assert (answer.status, "in the namespace acme of root/team" in await answer.text()) == (409, True)
