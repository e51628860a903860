"""The LDAP authenticator against a real directory, and against ones that are down, slow or wrong."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.ldap import authenticator as authenticator_module
from pkgindex_core.engines.ldap import make_ldap
from pkgindex_core.engines.ldap.answers import Accepted, Answer, Silent
from pkgindex_core.engines.ldap.authenticator import AT_ONCE, PAUSE_SECONDS, WAITING_LIMIT, LdapAuthenticator
from pkgindex_core.engines.ldap.settings import LdapSettings, Search, Tls, read_settings
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Authenticator, Credentials, Principal
from tests.core.services.conftest import MovedClock
from tests.directory import SUFFIX, Directory, directory, free_port

__all__ = ["directory"]


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def made(settings: dict[str, Any], workers: ThreadPoolExecutor) -> Authenticator:
    context = Context(data=Path(), clock=SystemClock(), workers=workers, settings=settings)
    authenticator = make_ldap(context)
    assert authenticator is not None
    return authenticator


def given(username: str, secret: str) -> Credentials:
    return Credentials(username=username, secret=secret)


async def test_a_right_password_gives_the_user_and_its_groups(
    directory: Directory, workers: ThreadPoolExecutor
) -> None:
    asked = made(directory.settings(), workers)
    assert await asked.authenticate(given("anna", "anna's word")) == Principal(
        name="anna", groups=("developers", "release managers")
    )
    assert await asked.authenticate(given("ben", "ben's word")) == Principal(name="ben", groups=("developers",))


@pytest.mark.parametrize(
    ("username", "secret"),
    [
        ("anna", "ben's word"),
        ("anna", ""),
        ("anna", "  "),
        ("nobody", "anna's word"),
        ("root", "root's word"),
        ("an*", "anna's word"),
        ("*", "anna's word"),
        ("anna)(uid=*", "anna's word"),
        ("anna,ou=people", "anna's word"),
        ("anna\0", "anna's word"),
        ("anna ", "anna's word"),
        ("__token__", "anna's word"),
    ],
)
@pytest.mark.parametrize("named", ["searched", "template"])
async def test_nobody_else_gets_in(
    named: str, username: str, secret: str, directory: Directory, workers: ThreadPoolExecutor
) -> None:
    settings = directory.settings(reject_as_unknown=False)
    if named == "template":
        del settings["user_search"]
        settings["user_template"] = f"uid={{username}},ou=people,{SUFFIX}"
    asked = made(settings, workers)
    assert await asked.authenticate(given(username, secret)) in {None, "refused"}


async def test_two_entries_for_one_name_are_nobody(directory: Directory, workers: ThreadPoolExecutor) -> None:
    assert await made(directory.settings(), workers).authenticate(given("twin", "twin's word")) is None


@pytest.mark.parametrize(("as_unknown", "answer"), [(True, None), (False, "refused")])
async def test_a_wrong_password_is_somebody_elses_or_final_as_configured(
    as_unknown: bool, answer: str | None, directory: Directory, workers: ThreadPoolExecutor
) -> None:
    asked = made(directory.settings(reject_as_unknown=as_unknown), workers)
    assert await asked.authenticate(given("anna", "wrong")) == answer
    assert await asked.authenticate(given("nobody", "wrong")) is None


async def test_a_template_names_the_user_without_a_search(directory: Directory, workers: ThreadPoolExecutor) -> None:
    settings = directory.settings(user_template=f"uid={{username}},ou=people,{SUFFIX}")
    del settings["user_search"]
    del settings["group_search"]
    assert await made(settings, workers).authenticate(given("anna", "anna's word")) == Principal(name="anna")


@pytest.mark.parametrize("attribute", ["cn", "CN", "dn"])
async def test_groups_are_called_by_the_attribute_that_is_configured(
    attribute: str, directory: Directory, workers: ThreadPoolExecutor
) -> None:
    settings = directory.settings()
    settings["group_search"]["attribute_name"] = attribute
    principal = await made(settings, workers).authenticate(given("ben", "ben's word"))
    assert isinstance(principal, Principal)
    assert principal.groups == (f"cn=developers,ou=groups,{SUFFIX}" if attribute == "dn" else "developers",)


async def test_certificates_are_verified_unless_said_otherwise(
    directory: Directory, workers: ThreadPoolExecutor
) -> None:
    right = given("ben", "ben's word")
    trusted = {"ca_certs_file": str(directory.authority)}
    for settings in (
        directory.settings(url=directory.encrypted, tls=trusted),
        directory.settings(url=directory.encrypted, tls={"validate": "none"}),
        directory.settings(url=directory.encrypted, tls={"validate": 0}),
        directory.settings(
            url=directory.encrypted.replace("localhost", "127.0.0.1"), tls={**trusted, "valid_names": ["localhost"]}
        ),
        directory.settings(url=directory.plain.replace("127.0.0.1", "localhost"), tls={**trusted, "start_tls": True}),
    ):
        assert isinstance(await made(settings, workers).authenticate(right), Principal)
    for settings in (
        directory.settings(url=directory.encrypted),
        directory.settings(url=directory.encrypted.replace("localhost", "127.0.0.1"), tls=trusted),
        directory.settings(tls={"start_tls": True}),
    ):
        with pytest.raises(Unavailable):
            await made(settings, workers).authenticate(right)


async def test_the_next_server_is_asked_when_one_is_down(directory: Directory, workers: ThreadPoolExecutor) -> None:
    settings = directory.settings()
    url = settings.pop("url")
    settings["server_pool"] = [{"url": f"ldap://127.0.0.1:{free_port()}"}, {"url": url}]
    assert isinstance(await made(settings, workers).authenticate(given("ben", "ben's word")), Principal)


@contextmanager
def mute_server() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"ldap://127.0.0.1:{server.getsockname()[1]}"


def misconfigured(directory: Directory, change: str) -> dict[str, Any]:
    settings = directory.settings()
    match change:
        case "the server is down":
            settings["url"] = f"ldap://127.0.0.1:{free_port()}"
        case "the reader's password is wrong":
            settings["user_search"]["password"] = "wrong"
        case "nobody may search anonymously":
            del settings["user_search"]["userdn"], settings["user_search"]["password"]
        case "the base does not exist":
            settings["user_search"]["base"] = "ou=nowhere,dc=example,dc=org"
        case "the groups cannot be read":
            settings["group_search"]["base"] = "ou=nowhere,dc=example,dc=org"
        case "the filter is no filter":
            settings["user_search"]["filter"] = "(uid={username}"
    return settings


@pytest.mark.parametrize(
    "change",
    [
        "the server is down",
        "the reader's password is wrong",
        "nobody may search anonymously",
        "the base does not exist",
        "the groups cannot be read",
        "the filter is no filter",
    ],
)
async def test_what_cannot_be_asked_is_unknown_and_not_wrong(
    change: str, directory: Directory, workers: ThreadPoolExecutor
) -> None:
    with pytest.raises(Unavailable) as raised:
        await made(misconfigured(directory, change), workers).authenticate(given("anna", "anna's word"))
    assert "anna" not in str(raised.value)
    # The log has its line about it; what has a cause is logged again, with a traceback.
    assert raised.value.__cause__ is None


async def test_a_server_that_says_nothing_is_given_up_and_then_left_alone(
    directory: Directory, workers: ThreadPoolExecutor
) -> None:
    with mute_server() as url:
        asked = made(directory.settings(url=url, timeout=1), workers)
        with pytest.raises(Unavailable, match=r"does not answer|too long"):
            await asked.authenticate(given("anna", "anna's word"))
        with pytest.raises(Unavailable, match="did not answer a moment ago"):
            await asked.authenticate(given("ben", "ben's word"))


class Scripted:
    """A directory that answers when it is told to, and counts."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked: list[str] = []
        self.silent = False

    def verify(self, username: str, password: str) -> Answer:
        self.asked.append(username)
        self.gate.wait(30)
        if self.silent:
            raise Silent("scripted")
        return Accepted((password,))


def scripted(workers: ThreadPoolExecutor, *, patience: float = 30.0) -> tuple[Scripted, LdapAuthenticator, MovedClock]:
    fake, clock = Scripted(), MovedClock()
    context = Context(data=Path(), clock=clock, workers=workers)
    return fake, LdapAuthenticator(fake, context, rejects=False, patience=patience), clock


async def test_a_full_queue_refuses_new_questions_and_lets_the_same_ones_join() -> None:
    with ThreadPoolExecutor(4) as workers:
        fake, asked, _ = scripted(workers)
        waiting = [asyncio.create_task(asked.authenticate(given(f"user{n}", "a"))) for n in range(WAITING_LIMIT)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many questions waiting") as raised:
            await asked.authenticate(given("anna", "a"))
        assert raised.value.retry_after
        joined = asyncio.create_task(asked.authenticate(given("user0", "a")))
        fake.gate.set()
        assert await joined == (await asyncio.gather(*waiting))[0]
        assert len(fake.asked) == WAITING_LIMIT


async def test_equal_questions_are_asked_once_and_only_a_few_at_a_time() -> None:
    with ThreadPoolExecutor(16) as workers:
        fake, asked, _ = scripted(workers)
        same = [asyncio.create_task(asked.authenticate(given("anna", "a"))) for _ in range(20)]
        others = [asyncio.create_task(asked.authenticate(given(f"user{n}", "a"))) for n in range(20)]
        while len(fake.asked) < AT_ONCE:
            await asyncio.sleep(0)
        assert len(fake.asked) == AT_ONCE
        fake.gate.set()
        answers = await asyncio.gather(*same, *others)
        assert answers[0] == Principal(name="anna", groups=("a",))
        assert sorted(fake.asked) == sorted(["anna", *(f"user{n}" for n in range(20))])


async def test_a_queue_does_not_grow_without_end(workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator_module, "WAITING_LIMIT", 2)
    fake, asked, _ = scripted(workers)
    waiting = [asyncio.create_task(asked.authenticate(given(name, "a"))) for name in ("anna", "ben")]
    while not fake.asked:
        await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too many"):
        await asked.authenticate(given("carl", "a"))
    fake.gate.set()
    await asyncio.gather(*waiting)
    assert await asked.authenticate(given("carl", "a")) == Principal(name="carl", groups=("a",))


async def test_somebody_who_stops_waiting_does_not_free_a_busy_thread(workers: ThreadPoolExecutor) -> None:
    fake, asked, clock = scripted(workers, patience=0.01)
    for name in ("anna", "ben", "carl"):
        clock.move(PAUSE_SECONDS)
        with pytest.raises(Unavailable, match="too long"):
            await asked.authenticate(given(name, "a"))
    clock.move(PAUSE_SECONDS)
    with pytest.raises(Unavailable, match="too long"):
        await asked.authenticate(given("dora", "a"))
    assert fake.asked == ["anna", "ben", "carl"]
    fake.gate.set()


async def test_a_silent_directory_is_asked_again_after_a_while(workers: ThreadPoolExecutor) -> None:
    fake, asked, clock = scripted(workers)
    fake.gate.set()
    fake.silent = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await asked.authenticate(given("anna", "a"))
    assert fake.asked == ["anna"]
    fake.silent = False
    clock.move(PAUSE_SECONDS)
    assert await asked.authenticate(given("anna", "a")) == Principal(name="anna", groups=("a",))


def test_without_its_table_the_directory_is_not_asked(workers: ThreadPoolExecutor) -> None:
    assert make_ldap(Context(data=Path(), clock=SystemClock(), workers=workers)) is None


def test_the_document_that_an_error_names_lists_every_option() -> None:
    with pytest.raises(Refused) as refused:
        read_settings({"timeout": 0})
    (document,) = (Path(word) for word in refused.value.hint.split() if word.endswith(".md"))
    text = document.read_text(encoding="utf-8")
    options = {field.name for struct in (LdapSettings, Search, Tls) for field in fields(struct)} - {"servers"}
    assert [name for name in sorted(options | {"url", "server_pool"}) if not re.search(rf"\b{name}\b", text)] == []


def test_all_that_is_wrong_is_told_at_once_and_no_secret_with_it() -> None:
    with pytest.raises(Refused) as refused:
        read_settings(
            {
                "url": "http://ldap.example.org",
                "server_pool": [],
                "user_template": "uid={name}",
                "user_search": {"base": "b", "filter": "(uid=x)", "userdn": "cn=x", "scope": "tree"},
                "group_search": {"base": "b", "filter": "(member={userdn})", "attribute_name": "cn", "userdn": "cn=x"},
                "tls": {"validate": "perhaps", "local_private_key_password": ["hush"]},
                "timeout": 0,
                "referals": True,
            }
        )
    told = "\n".join(refused.value.problems)
    assert "hush" not in told
    for expected in (
        "unknown option 'referals'; did you mean 'referrals'?",
        "timeout: Expected `int` >= 1",
        "either url or server_pool",
        "either user_template or user_search",
        "user_template: it must have {username}",
        "[plugins.ldap.user_search]: the option 'attribute_name' is missing",
        "[plugins.ldap.user_search] scope: write one of base-object, single-level, whole-subtree",
        "[plugins.ldap.group_search]: userdn and password belong together",
    ):
        assert expected in told, told


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"url": "http://x"}, "url: write ldap://host or ldaps://host"),
        ({"url": "ldap://user:password@host"}, "url: write ldap://host or ldaps://host"),
        ({"url": "ldaps://x", "tls": {"start_tls": True}}, "start_tls: it is for ldap:// only"),
        ({"url": "ldaps://x", "tls": {"validate": "perhaps"}}, "validate: write one of required, optional, none"),
        ({"url": "ldaps://x", "tls": []}, "tls: Expected `object | null`"),
        ({"server_pool": []}, "server_pool: it must be a list of tables, and not empty"),
        ({"server_pool": [{"tls": {}}]}, "[plugins.ldap.server_pool.1]: the option 'url' is missing"),
        ({"url": "ldap://x", "user_template": "uid={username},{x}"}, "no other braces"),
        ({"url": "ldap://x", "user_template": "uid=anna"}, "it must have {username} in it"),
    ],
)
def test_one_wrong_option(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(Refused) as refused:
        read_settings({"user_template": "uid={username}", **changed})
    assert problem in "\n".join(refused.value.problems)


def test_passwords_do_not_show_themselves() -> None:
    settings = read_settings(
        {
            "url": "ldaps://x",
            "tls": {"local_private_key_password": "hush"},
            "user_search": {
                "base": "b",
                "filter": "(uid={username})",
                "attribute_name": "dn",
                "userdn": "cn=x",
                "password": "hush",
            },
        }
    )
    assert "hush" not in repr(settings)
