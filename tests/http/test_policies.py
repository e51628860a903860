"""Policies as an operator and clients meet them: waiting, warnings, exemptions, decisions, refused uploads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from pkgindex_core.changes import PutIndex
from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.digests import sha256_of
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.notes import Note
from pkgindex_core.rules.policing import exemptions
from pkgindex_core.rules.policing.exemptions import KEPT_AS, Exemption, as_kept
from pkgindex_core.services.writing import policing
from pkgindex_core.testing.configs import changed_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_http.commands.common import ADMINISTRATOR
from tests.http.conftest import HOSTED, Mirrored, Serve, Served, basic, make_store
from tests.http.conftest import MirroredStart as Start
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

DAY = 86_400_000_000
NOW = Timestamp(1_795_996_800_000_000)  # 2026-11-30
OLD, NEW = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")
PAGE = "/root/dev/+simple/demo/"


def path(file: BuiltFile, index: str = "root/pypi") -> str:
    return f"/{index}/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}"


async def status(served: Served, url: str) -> int:
    async with served.get(url) as answer:
        await answer.read()
        return int(answer.status)


async def world_with(world: Mirrored, *policies: str) -> ManualClock:
    """The mirror has an old and a new release, and these policies. The clock of the engine's services is returned."""
    engine = world.served.engine
    del world.upstream.projects["demo"]
    world.upstream.add("demo", OLD, upload_time="2020-01-01T00:00:00Z")
    world.upstream.add("demo", NEW, upload_time=to_rfc3339(Timestamp(NOW - DAY)))
    await world.change(policies=policies)
    clock = ManualClock(NOW)
    for service in (engine.pages, engine.files, engine.exempting, engine.decisions, engine.explaining):
        service._clock = clock  # type: ignore[attr-defined]  # of private parts
    return clock


async def test_a_release_waits_for_its_page_and_for_its_lock_file(mirrored: Start) -> None:
    async with mirrored() as world:
        clock = await world_with(world, "cooldown 7d")
        answer, names = await world.page(PAGE)
        assert names == [OLD.filename]
        assert await status(world.served, path(OLD)) == 200
        for url in (path(NEW), f"{path(NEW)}.metadata"):
            async with world.served.get(url) as held:
                assert held.status == 404
                assert "cooldown: demo-2.0-py3-none-any.whl was published 2026-11-29T00:00:00Z" in await held.text()
        clock.advance(6 * 86_400 - 1)
        assert (await world.get(PAGE, **{"If-None-Match": answer.headers["ETag"]}))[
            0
        ].status == 200  # an hour has passed
        assert (await world.page(PAGE))[1] == [OLD.filename]
        clock.advance(1)
        assert (await world.page(PAGE))[1] == [OLD.filename, NEW.filename]
        assert await status(world.served, path(NEW)) == 200


async def test_within_an_hour_a_page_under_a_cooldown_is_not_made_again(mirrored: Start) -> None:
    async with mirrored() as world:
        clock = await world_with(world, "cooldown 7d")
        answer, _ = await world.page(PAGE)
        clock.advance(3599)
        again, _ = await world.get(PAGE, **{"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304


async def test_a_warning_is_told_with_the_page_and_the_file(mirrored: Start) -> None:
    async with mirrored() as world:
        await world_with(world, "cooldown warn 7d", "deprecated use other for demo<2")
        answer, names = await world.page(PAGE)
        assert names == [OLD.filename, NEW.filename]
        told = answer.headers["X-PkgIndex-Warning"]
        assert "demo-1.0-py3-none-any.whl: deprecated: demo 1.0 is deprecated: use other" in told
        assert "demo-2.0-py3-none-any.whl: cooldown: " in told
        async with world.served.get(path(NEW)) as file:
            assert file.status == 200
            assert file.headers["X-PkgIndex-Warning"].startswith("demo-2.0-py3-none-any.whl: cooldown: ")
        async with world.served.get("/+explain?project=demo&index=root/dev") as explained:
            story = await explained.json(content_type=None)
        assert [each["filename"] for each in story["warned"]] == [OLD.filename, NEW.filename]
        assert story["hidden"] == []


async def test_an_exemption_holds_at_once_is_audited_and_expires_by_itself(mirrored: Start) -> None:
    async with mirrored() as world:
        clock = await world_with(world, "cooldown 7d")
        root = await world.served.user("root")
        url = f"{world.served.url}/root/pypi/+exemptions"
        assert (await world.page(PAGE))[1] == [OLD.filename]
        until = to_rfc3339(Timestamp(NOW + DAY))
        document: dict[str, Any] = {
            "purl": "pkg:pypi/Demo@2",
            "reason": "CVE-2026-1",
            "rules": ["cooldown"],
            "until": until,
        }
        for wrong in (
            {"purl": "numpy"},
            {"reason": " "},
            {"rules": ["cooldwn"]},
            {"until": "2020-01-01"},
            {"until": "soon"},
        ):
            async with world.served.client.post(url, json={**document, **wrong}, headers=root) as refused:
                assert refused.status == 400, wrong
        async with world.served.client.post(url, json=document, headers=root) as made:
            assert made.status == 200
            assert (await made.json())["by"] == "root"
        assert (await world.page(PAGE))[1] == [OLD.filename, NEW.filename]
        assert await status(world.served, path(NEW)) == 200
        (commit,) = await world.served.engine.store.commits((await world.served.engine.store.head()) - 1, limit=1)
        assert commit.who == "root"
        clock.advance(86_399)
        assert await status(world.served, path(NEW)) == 200
        clock.advance(1)
        assert await status(world.served, path(NEW)) == 404
        assert (await world.page(PAGE))[1] == [OLD.filename]
        async with world.served.get("/root/pypi/+exemptions", headers=root) as listed:
            assert [each["active"] for each in (await listed.json())["exemptions"]] == [False]
        async with world.served.client.delete(f"{url}?purl=pkg:pypi/demo@2", headers=root) as lifted:
            assert lifted.status == 200
        async with world.served.client.delete(f"{url}?purl=pkg:pypi/demo@2", headers=root) as lifted:
            assert lifted.status == 404


async def test_a_decision_is_recorded_once_and_anew_when_the_verdict_changes(mirrored: Start) -> None:
    async with mirrored() as world:
        await world_with(world, "cooldown 7d")
        decisions = world.served.engine.decisions
        for _ in range(3):
            await world.page(PAGE)
            await status(world.served, path(NEW))
        await decisions.flush()
        async with world.served.get("/+decisions?index=root/pypi") as answer:
            document = await answer.json()
        (record,) = document["decisions"]
        assert document["after"] == ""
        assert record == {
            "at": "2026-11-30T00:00:00Z",
            "index": "root/pypi",
            "project": "demo",
            "version": "2.0",
            "filename": NEW.filename,
            "rule": "cooldown",
            "mode": "block",
            "verdict": "wait",
            "reason": "demo-2.0-py3-none-any.whl was published 2026-11-29T00:00:00Z, and new releases wait 7 days",
            "next_eligible_at": "2026-12-06T00:00:00Z",
        }
        await world.change(policies=("quarantine stolen for demo==2.0", "deprecated observe for demo==1.0"))
        await world.page(PAGE)
        await decisions.flush()
        for wrong in ("0", "1001", "0000011111111", "x"):
            assert await status(world.served, f"/+decisions?limit={wrong}") == 400
        async with world.served.get("/+decisions?limit=2") as answer:
            first = await answer.json()
        async with world.served.get("/+decisions", params={"after": first["after"]}) as answer:
            rest = await answer.json()
        first_and_last = [{"cooldown", "quarantine"}, {"deprecated", "quarantine"}]
        for rules in first_and_last:
            _, place = await decisions.listed(limit=1, chosen=lambda each, rules=rules: each.rule in rules)  # type: ignore[misc]  # a default binds the value of the loop
            assert place.split()[3] in rules
        verdicts = [(each["rule"], each["verdict"]) for each in [*first["decisions"], *rest["decisions"]]]
        assert sorted(verdicts) == [("cooldown", "wait"), ("deprecated", "observe"), ("quarantine", "hide")]
        read = 0

        async def counted(kind: str, *, after: str = "") -> AsyncIterator[Sequence[Note]]:
            nonlocal read
            async for batch in notes(kind, after=after):
                for note in batch:
                    read += 1
                    yield [note]

        notes, decisions._notes = decisions._notes.notes, SimpleNamespace(notes=counted)
        for query in ("index=root/dev", "index=root/dev&project=demo", "project=other"):
            async with world.served.get(f"/+decisions?{query}") as answer:
                assert (await answer.json())["decisions"] == []
        assert read == 3, "none but the one behind those that are asked for"
        for query, reads in (
            ("rule=cooldown", 2),
            ("rule=deprecated", 2),
            ("rule=dep", 1),
            ("rule=zz&index=root/pypi", 0),
        ):
            read = 0
            async with world.served.get(f"/+decisions?{query}") as answer:
                assert all(each["rule"] == query[5:] for each in (await answer.json())["decisions"])
            assert read == reads, "a rule's decisions, and the one behind them"
        for query in ("rule=quarantine", "verdict=hide", "project=Demo&mode=block&verdict=hide"):
            async with world.served.get(f"/+decisions?{query}") as answer:
                assert [each["rule"] for each in (await answer.json())["decisions"]] == ["quarantine"]
        assert await status(world.served, "/+decisions?limit=0") == 400


async def test_who_may_not_explain_an_index_sees_no_decision_of_it(serve: Serve) -> None:
    async with serve() as served:
        await served.index("root/secret", acl_read=("root",), policies=["quarantine"])
        await served.put(OLD, index=IndexName("root/secret"))
        root, other = basic("root"), await served.user("other")
        async with served.get("/root/secret/+simple/demo/", headers=root) as page:
            assert page.status == 200
        await served.engine.decisions.flush()
        for headers, count in ((root, 1), (other, 0), ({}, 0)):
            async with served.get("/+decisions", headers=headers) as answer:
                assert len((await answer.json())["decisions"]) == count


async def upload(served: Served, file: BuiltFile) -> tuple[int, str]:
    headers = {"Content-Type": CONTENT_TYPE.decode(), **basic("root")}
    async with served.request("POST", "/root/dev/", data=encode_form(upload_parts(file)), headers=headers) as answer:
        return answer.status, await answer.text()


def licensed(expression: str) -> BuiltFile:
    return build_wheel("demo", "1.0", metadata_extra=f"License-Expression: {expression}\n", metadata_version="2.4")


STARTS = build_wheel("demo", "1.0", files={"demo.py": b"", "demo.pth": b"import demo\n"})
SCRIPTED = build_wheel("demo", "1.0", files={"demo.py": b"", "demo-1.0.data/scripts/python3": b"#!python\n"})
OUTSIDE = build_wheel("demo", "1.0", files={"demo.py": b"", "demo-1.0.data/data/etc/x": b""})
CUSTOMIZES = build_wheel("demo", "1.0", files={"demo.py": b"", "sitecustomize/__init__.py": b""})
OUTSIDE_STARTS = build_wheel(
    "demo", "1.0", files={"demo.py": b"", "demo-1.0.data/data/lib/python3.14/site-packages/demo.pth": b"import demo\n"}
)
SCRIPTED_FOR_WINDOWS = build_wheel("demo", "1.0", files={"demo.py": b"", "demo-1.0.data/scripts/Python.EXE": b""})


@pytest.mark.parametrize(
    ("policy", "refused", "taken", "words"),
    [
        ("licences MIT, Apache-2.0", licensed("GPL-3.0-only"), licensed("mit OR GPL-3.0-only"), "its licence is GPL-3.0-only"),
        ("licences MIT, Apache-2.0", licensed("MIT AND GPL-3.0-only"), licensed("MIT AND (Apache-2.0 OR ISC)"), "only Apache-2.0, MIT"),
        ("licences MIT", OLD, licensed("MIT"), "no License-Expression"),
        ("file-types tar.gz", OLD, build_sdist("demo", "1.0"), "only files of the types tar.gz"),
        ("max-size 100B", OLD, None, "and 100 are let through"),
        (f"revoked sha256:{OLD.sha256} a leak", OLD, NEW, "are revoked: a leak"),
        ("archived superseded for demo<2", OLD, NEW, "is archived and takes no files: superseded"),
        ("quarantine for demo==1.0", OLD, NEW, "demo 1.0 is quarantined"),
        ("startup-files", STARTS, OLD, "runs whenever Python starts"),
        ("startup-files", CUSTOMIZES, OLD, "'sitecustomize/__init__.py', which runs whenever Python starts"),
        ("startup-files", OUTSIDE_STARTS, OUTSIDE, "runs whenever Python starts"),
        ("scripts", SCRIPTED, OLD, "it has the script"),
        ("install-places", SCRIPTED, STARTS, "overwrites an interpreter"),
        ("install-places", SCRIPTED_FOR_WINDOWS, STARTS, "overwrites an interpreter"),
        ("install-places", OUTSIDE, OLD, "outside of site-packages"),
    ],
)  # fmt: skip
async def test_an_upload_that_a_policy_blocks_is_refused_with_the_reason(
    serve: Serve, policy: str, refused: BuiltFile, taken: BuiltFile | None, words: str
) -> None:
    async with serve() as served:
        tree = await served.engine.store.tree()
        await served.engine.store.apply(
            [PutIndex(changed_config(tree.indexes[HOSTED], policies=[policy]))], who="[test]"
        )
        code, text = await upload(served, refused)
        assert (code, words in text) == (400, True), text
        assert f"the policy {policy.split(maxsplit=1)[0]} of this index" in text
        assert await served.engine.store.page(HOSTED, ProjectName("demo")) is None
        if taken is not None:
            assert (await upload(served, taken))[0] == 200
        await served.engine.decisions.flush()
        found, _ = await served.engine.decisions.listed()
        assert {(each.rule, each.filename) for each in found} == {(policy.split(maxsplit=1)[0], refused.filename)}


async def push(served: Served, version: str, source: str = "root/dev") -> tuple[int, str]:
    document = {"name": "demo", "version": version, "targetindex": "root/prod"}
    async with served.request("PUSH", f"/{source}", json=document, headers=basic("root")) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("policy", "refused", "words"),
    [
        ("licences MIT", licensed("GPL-3.0-only"), "its licence is GPL-3.0-only"),
        ("startup-files", STARTS, "runs whenever Python starts"),
        ("install-places", SCRIPTED, "overwrites an interpreter"),
        ("archived for demo", OLD, "is archived and takes no files"),
        ("scripts", replace(OLD, data=b"no zip", sha256=sha256_of(b"no zip")), "cannot be read as a wheel"),
    ],
)  # fmt: skip
async def test_a_push_is_no_way_around_the_rules_for_uploads(
    serve: Serve, policy: str, refused: BuiltFile, words: str
) -> None:
    """The rules are those of the index to which the release is pushed. With a warning it is pushed."""
    async with serve() as served:
        await served.index("root/prod", acl_upload=("root",), policies=[policy])
        await served.put(refused)
        code, text = await push(served, "1.0")
        assert (code, words in text) == (400, True), text
        assert await served.engine.store.page(IndexName("root/prod"), ProjectName("demo")) is None
        await served.engine.decisions.flush()
        (made,), _ = await served.engine.decisions.listed()
        assert (made.index, made.rule, made.filename) == ("root/prod", policy.split(maxsplit=1)[0], refused.filename)
        rule, _, value = policy.partition(" ")
        await served.index("root/prod", acl_upload=("root",), policies=[f"{rule} warn {value}"])
        assert (await push(served, "1.0"))[0] == 200


async def test_a_closed_release_takes_no_pushed_files(serve: Serve) -> None:
    async with serve() as served:
        prod = await served.index("root/prod", acl_upload=("root",), policies=["closed-after 14d"])
        now = served.engine.clock.now()
        await served.put(build_sdist("demo", "1.0"), index=prod, upload_time=Timestamp(now - 14 * DAY))
        for file in (OLD, NEW):
            await served.put(file)
        code, text = await push(served, "1.0")
        assert (code, "demo 1.0 is closed" in text) == (400, True), text
        assert (await push(served, "2.0"))[0] == 200


async def test_a_release_is_closed_some_time_after_its_first_file(serve: Serve) -> None:
    async with serve() as served:
        tree = await served.engine.store.tree()
        changed = changed_config(tree.indexes[HOSTED], policies=["closed-after 14d"])
        await served.engine.store.apply([PutIndex(changed)], who="[test]")
        now = served.engine.clock.now()
        await served.put(build_sdist("demo", "1.0"), upload_time=Timestamp(now - 14 * DAY))
        await served.put(build_sdist("demo", "2.0"), upload_time=Timestamp(now - 13 * DAY))
        code, text = await upload(served, OLD)
        assert code == 400
        assert "demo 1.0 is closed: it took files until" in text
        assert (await upload(served, NEW))[0] == 200


async def test_an_upload_of_which_a_policy_warns_is_taken_with_the_warning(serve: Serve) -> None:
    async with serve() as served:
        tree = await served.engine.store.tree()
        changed = changed_config(tree.indexes[HOSTED], policies=["startup-files warn"])
        await served.engine.store.apply([PutIndex(changed)], who="[test]")
        code, text = await upload(served, STARTS)
        assert code == 200
        assert "runs whenever Python starts" in text


async def test_all_rules_about_a_wheel_read_its_names_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(wheel: Path) -> Sequence[str]:
        read.append(wheel)
        return names_in(wheel)

    names_in = policing._members
    monkeypatch.setattr(policing, "_members", counted)
    async with serve() as served:
        tree = await served.engine.store.tree()
        policies = ["startup-files warn", "scripts warn", "install-places warn"]
        await served.engine.store.apply(
            [PutIndex(changed_config(tree.indexes[HOSTED], policies=policies))], who="[test]"
        )
        code, text = await upload(served, SCRIPTED)
        assert (code, "it has the script" in text, "overwrites an interpreter" in text) == (200, True, True)
    assert len(read) == 1


async def test_a_private_name_is_never_asked_of_an_upstream(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.change(policies=["private for acme-*"])
        for url in ("/root/pypi/+simple/acme-tool/", "/root/dev/+simple/acme-tool/", "/pypi/acme-tool/json"):
            assert await status(world.served, url) == 404
        lock = "/root/pypi/+f/123/1234567890123/acme_tool-1.0-py3-none-any.whl"
        assert await status(world.served, lock) == 404
        assert not [each for each in world.upstream.asked if "acme" in each.path]
        await world.served.put(build_wheel("acme_tool", "1.0"), index=HOSTED)
        assert await status(world.served, "/root/dev/+simple/acme-tool/") == 200


async def test_a_reserved_name_may_only_be_warned_of(mirrored: Start) -> None:
    async with mirrored() as world:
        await world_with(world)
        tree = await world.served.engine.store.tree()
        changed = changed_config(tree.indexes[HOSTED], policies=["reserved warn for demo"])
        await world.served.engine.store.apply([PutIndex(changed)], who="[test]")
        answer, _ = await world.get("/root/dev/+simple/demo/")
        assert (answer.status, "the name belongs to root/dev" in answer.headers["X-PkgIndex-Warning"]) == (200, True)


async def test_the_server_demands_what_no_index_can_loosen(serve: Serve) -> None:
    async with serve(policies={"root/*": ["quarantine for demo==1.0"]}) as served:
        await served.put(OLD)
        tree = await served.engine.store.tree()
        changed = changed_config(tree.indexes[HOSTED], policies=["quarantine off"])
        await served.engine.store.apply([PutIndex(changed)], who="[test]")
        assert await status(served, path(OLD, "root/dev")) == 404


def test_a_wrong_policy_is_refused_and_changes_nothing(tmp_path: Any) -> None:
    from pkgindex_http.cli import main

    make_store(tmp_path / "data")
    options = ["--data", str(tmp_path / "data")]
    runner = CliRunner()
    made = runner.invoke(main, ["index", "create", "root/x", "policies=cooldwn 7d", *options])
    assert made.exit_code != 0
    assert "there is no rule 'cooldwn'" in made.output


@pytest.mark.parametrize("hashes", [{"md5": hashlib.md5(NEW.data).hexdigest()}, {}])
async def test_revoked_bytes_of_an_upstream_that_tells_no_sha256_are_never_given_out(
    mirrored: Start, hashes: dict[str, str]
) -> None:
    """They are compared when they have come, before a client gets the first of them. Other bytes are given out."""
    async with mirrored() as world:
        for file in (OLD, NEW):
            world.upstream.add("demo", file, hashes=hashes if file is NEW else {}, upload_time="2020-01-01T00:00:00Z")
        await world.change(policies=(f"revoked sha256:{NEW.sha256} a leak for demo==2.*", "revoked sha256:" + 64 * "0"))
        _, body = await world.get(PAGE)
        urls = {each["filename"]: urljoin(PAGE, each["url"]) for each in json.loads(body)["files"]}
        assert "/+e/" in urls[NEW.filename]
        for _ in range(3):
            answer, body = await world.get(urls[NEW.filename])
            assert (answer.status, b"are revoked: a leak" in body) == (404, True)
            assert (await world.get(urls[OLD.filename]))[1] == OLD.data
        assert (await world.page(PAGE))[1] == [OLD.filename]


async def test_a_name_that_belongs_to_an_index_is_in_no_mirror_and_stays_when_its_project_is_deleted(
    mirrored: Start,
) -> None:
    async with mirrored() as world:
        served = world.served
        tree = await served.engine.store.tree()
        changed = changed_config(tree.indexes[HOSTED], policies=["names-stay", "reserved for acme-*"], volatile=True)
        await served.engine.store.apply([PutIndex(changed)], who="[test]")
        await served.index("root/top", bases=(HOSTED,))
        await served.put(build_wheel("demo", "3.0"), index=HOSTED)
        assert (await world.page(PAGE))[1] == ["demo-3.0-py3-none-any.whl"]
        await served.engine.releases.delete_project(HOSTED, ProjectName("demo"), principal=ADMINISTRATOR)
        for url in (PAGE, "/root/top/+simple/demo/", "/root/dev/+simple/acme-x/", "/root/top/+simple/acme-x/"):
            assert await status(served, url) == 404
        assert world.upstream.count("page") == 0
        # By itself the mirror has its names.
        assert await status(served, "/root/pypi/+simple/demo/") == 200
        await served.put(build_wheel("demo", "4.0"), index=HOSTED)
        assert (await world.page(PAGE))[1] == ["demo-4.0-py3-none-any.whl"]


def test_init_makes_a_hardened_store_and_keeps_what_is_there(tmp_path: Any) -> None:
    from pkgindex_http.cli import main

    runner = CliRunner()
    options = ["--data", str(tmp_path / "data")]
    for _ in range(2):
        made = runner.invoke(main, ["init", "--hardened", *options])
        assert made.exit_code == 0, made.output
    told = runner.invoke(main, ["index", "show", "root/pypi", *options])
    assert told.output.count("cooldown 7d") == 1, told.output


def test_a_dry_run_tells_whom_a_rule_would_have_hit(tmp_path: Any) -> None:
    from pkgindex_http.cli import main

    make_store(tmp_path / "data")
    options = ["--data", str(tmp_path / "data")]
    runner = CliRunner()
    for file in (OLD, NEW):
        (tmp_path / file.filename).write_bytes(file.data)
        loaded = runner.invoke(main, ["upload", str(tmp_path / file.filename), "--index", "root/dev", *options])
        assert loaded.exit_code == 0, loaded.output
    lines = [
        {"time": "2030-01-01T00:00:00Z", "client": "10.0.0.1", "who": "ci", "method": "GET", "path": path(file, "root/dev"), "status": 200}
        for file in (OLD, NEW, NEW)
    ]  # fmt: skip
    log = tmp_path / "access.log"
    log.write_text("\n".join(["not JSON", *map(json.dumps, lines)]))
    told = runner.invoke(
        main, ["policy", "dry-run", "quarantine stolen for demo==2.0", "--access-log", str(log), "--json", *options]
    )
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert document["downloads"] == 3
    (hit,) = document["hits"]
    assert (hit["filename"], hit["count"], hit["who"], hit["reason"]) == (
        NEW.filename,
        2,
        "ci",
        "demo 2.0 is quarantined: stolen",
    )

    def text(line: str) -> str:
        return runner.invoke(main, ["policy", "dry-run", line, "--access-log", str(log), *options]).output

    assert "0 of 3 downloads would not have been answered" in text("cooldown 7d")
    assert "0 of 3 downloads would not have been answered" in text("quarantine warn")
    assert "no advisories were taken in yet" in text("malware")
    affected = [{"package": {"ecosystem": "PyPI", "name": "demo"}, "versions": ["2.0"]}]
    (tmp_path / "feed").mkdir()
    advisory = {"id": "MAL-1", "modified": "2026-01-01T00:00:00Z", "affected": affected}
    (tmp_path / "feed" / "a.json").write_text(json.dumps(advisory))
    assert runner.invoke(main, ["advisory", "update", str(tmp_path / "feed"), *options]).exit_code == 0
    assert "2 of 3 downloads would not have been answered" in text("malware")


async def test_an_index_that_is_inherited_no_more_is_policed_in_the_past_too(mirrored: Start) -> None:
    async with mirrored() as world:
        await world_with(world)
        served = world.served
        await world.page(PAGE)
        await served.engine.settle()
        serial = await served.engine.store.head()
        tree = await served.engine.store.tree()
        await served.engine.store.apply([PutIndex(changed_config(tree.indexes[HOSTED], bases=()))], who="[test]")
        past = f"/+at/{serial}{PAGE}"
        assert (await world.page(past))[1] == [OLD.filename, NEW.filename]
        await world.change(policies=("quarantine stolen for demo==2.0",))
        assert (await world.page(past))[1] == [OLD.filename]
        await world.change(policies=("private",))
        assert await status(served, past) == 404
        assert b"demo" not in (await world.get(f"/+at/{serial}/root/dev/+simple/"))[1]


def test_deleted_files_and_projects_come_back(tmp_path: Any) -> None:
    from pkgindex_http.cli import main

    make_store(tmp_path / "data")
    options = ["--data", str(tmp_path / "data")]
    runner = CliRunner()

    def told(*words: str) -> str:
        done = runner.invoke(main, [*words, *options])
        assert done.exit_code == 0, done.output
        return done.output

    for file in (OLD, NEW):
        (tmp_path / file.filename).write_bytes(file.data)
        told("upload", str(tmp_path / file.filename), "--index", "root/dev")
    told("delete", OLD.filename, "--index", "root/dev", "--force")
    assert OLD.filename in told("project", "undelete", "demo==1", "--index", "root/dev")
    told("project", "delete", "demo", "--index", "root/dev", "--force")
    assert "nothing of demo==3" in told("project", "undelete", "demo==3", "--index", "root/dev")
    back = told("project", "undelete", "Demo", "--index", "root/dev")
    assert back.count("brought back") == 2, back
    assert "2 files, 2 shown" in told("explain", "demo", "--index", "root/dev")
    assert "all of it is there" in told("project", "undelete", "demo", "--index", "root/dev")


async def test_a_clock_that_goes_back_lets_nothing_through(mirrored: Start) -> None:
    """The answer that was kept for later is none for earlier, also where it would be repeated."""
    async with mirrored() as world:
        clock = await world_with(world, "cooldown 7d")
        seen = []
        for days in (0, 8, -8, 8):
            clock.advance(days * 86_400)
            for _ in range(3):
                answer, names = await world.page(PAGE)
                assert await status(world.served, path(NEW)) == (200 if NEW.filename in names else 404)
            seen.append((answer.headers["ETag"], len(names)))
        assert [count for _, count in seen] == [1, 2, 1, 2]
        assert seen[0] == seen[2]
        assert seen[1] == seen[3]


async def test_ten_thousand_exemptions_are_read_once(mirrored: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """In ten indexes, which is their bound, however many rules and requests ask. Each ends at its time."""
    async with mirrored() as world:
        clock = await world_with(world, "cooldown 7d", "quarantine for demo==1.0", "file-types whl")
        bases = []
        for number in range(10):
            made = [
                Exemption(
                    purl=f"pkg:pypi/demo@{number}.{each}",
                    reason="looked at",
                    by="root",
                    at=NOW,
                    until=Timestamp(NOW + (number * 1000 + each + 1) * 1_000_000),
                )
                for each in range(1000)
            ]
            name = IndexName(f"root/many{number}")
            await world.served.index(name, options={"policies": ["cooldown 1d", "quarantine"], KEPT_AS: as_kept(made)})
            bases.append(name)
        await world.served.index(HOSTED, bases=(*bases, IndexName("root/pypi")))
        read: list[str] = []
        parse = exemptions.parse_purl
        monkeypatch.setattr(exemptions, "parse_purl", lambda text: read.append(text) or parse(text))
        tags = set()
        for _ in range(3):
            for _ in range(2):
                answer, names = await world.page(PAGE)
                tags.add(answer.headers["ETag"])
            clock.advance(1)
        assert names == []
        assert len(tags) == 3, "each second an exemption ends"
        assert len(read) == 10_000
