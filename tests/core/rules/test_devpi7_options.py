"""devpi 7's words for options: the same settings under other names."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.devpi7_options import ALLOW_ALL, BLOCK_REMOTE, TRUST_NOT_REMOTE, changed_project
from pkgindex_core.rules.index_options import BUILTIN_OPTIONS, BUILTIN_TYPES, IndexOptions
from pkgindex_core.rules.kept_options import whitelist

OPTIONS = IndexOptions(
    {name: declared for name, (_, declared) in BUILTIN_TYPES.items()},
    {name: declared for name, (_, declared) in BUILTIN_OPTIONS.items()},
)
NAME, DEMO = IndexName("alice/dev"), ProjectName("demo")
TREE = Tree(serial=Serial(1), indexes={})
URL = "https://host/simple/"


def made(**given: Any) -> IndexConfig:
    return OPTIONS.made(NAME, given, TREE)


def refusal(function: Any, *arguments: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        function(*arguments)
    return refused.value


class TestNames:
    """Both names of an option are one setting."""

    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ({"type": "local"}, {"type": "stage"}),
            ({"project_inheritance_rules": "allow all"}, {"mirror_whitelist": "*"}),
            ({"project_inheritance_rules": [ALLOW_ALL]}, {"mirror_whitelist": ["*"]}),
            ({"project_inheritance_rules": [BLOCK_REMOTE]}, {}),
            ({"trust_inheritance_rules_from": "Type:not remote"}, {"mirror_whitelist_inheritance": "union"}),
            ({"trust_inheritance_rules_from": "none"}, {"mirror_whitelist_inheritance": "intersection"}),
            ({"type": "remote", "remote_url": URL}, {"type": "mirror", "mirror_url": URL}),
            *(
                (
                    {"type": "remote", "remote_url": URL, f"remote_{name}": value},
                    {"type": "mirror", "mirror_url": URL, f"mirror_{other}": value},
                )
                for name, other, value in (
                    ("refresh_delay", "cache_expiry", "60"),
                    ("use_external_urls", "use_external_urls", "yes"),
                    ("no_project_list", "no_project_list", "True"),
                    ("web_url_fmt", "web_url_fmt", "https://h/{name}"),
                )
            ),
        ],
        ids=str,
    )
    def test_they_make_the_same_index(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        assert made(**theirs) == made(**ours)

    def test_a_document_shows_either_those_of_devpi_6_or_those_of_devpi_7(self) -> None:
        local, remote = (
            made(mirror_whitelist="*,six", mirror_whitelist_inheritance="union"),
            made(type="remote", remote_url="https://user:secret@host/simple/", remote_refresh_delay=60),
        )
        assert OPTIONS.document(local) == {
            "type": "stage", "volatile": True, "bases": [], "acl_upload": ["alice"],
            "acl_toxresult_upload": [":AUTHENTICATED:"], "mirror_whitelist": ["*", "six"],
            "mirror_whitelist_inheritance": "union",
        }  # fmt: skip
        assert OPTIONS.document(local, of_devpi_7=True) == {
            "type": "local", "volatile": True, "bases": [], "acl_upload": ["alice"],
            "acl_toxresult_upload": [":AUTHENTICATED:"], "project_inheritance_rules": ["allow all"],
            "trust_inheritance_rules_from": "type:not remote",
        }  # fmt: skip
        assert OPTIONS.document(made(), of_devpi_7=True)["project_inheritance_rules"] == [BLOCK_REMOTE]
        assert "trust_inheritance_rules_from" not in OPTIONS.document(made(), of_devpi_7=True)
        told = {"volatile": True, "remote_url": URL, "remote_refresh_delay": 60}
        assert OPTIONS.document(remote, of_devpi_7=True) == {"type": "remote", **told}
        assert OPTIONS.document(remote) == {
            "type": "mirror", **{{"remote_refresh_delay": "mirror_cache_expiry"}.get(key, key.replace("remote_", "mirror_")): value for key, value in told.items()},
        }  # fmt: skip

    @pytest.mark.parametrize("of_devpi_7", [False, True])
    def test_a_document_that_is_written_back_changes_nothing(self, of_devpi_7: bool) -> None:  # a parameter
        for config in (
            made(mirror_whitelist="*,six", mirror_whitelist_inheritance="union"),
            made(type="remote", remote_url="https://user:secret@host/simple/", remote_no_project_list="True"),
        ):
            assert OPTIONS.changed(config, OPTIONS.document(config, of_devpi_7=of_devpi_7), TREE) == config

    def test_both_names_at_once_are_refused(self) -> None:
        error = refusal(lambda: made(type="mirror", mirror_url=URL, remote_url="https://other/"))
        assert error.problems == ("mirror_url and remote_url are two names of one option: give one of them",)

    def test_refusals_speak_of_the_name_that_was_given(self) -> None:
        assert refusal(lambda: made(type="remote", remote_url="x")).problems == ("'remote_url' option must be a URL.",)
        remote = made(type="remote", remote_url=URL)
        assert refusal(OPTIONS.patched, remote, ["remote_refresh_delay=x"], TREE).problems == (
            "'remote_refresh_delay' option must be an integer",
        )
        assert refusal(OPTIONS.patched, remote, ["remote_url-="], TREE).problems == (
            "Default values can't be removed.",
        )
        rules = "must be ['allow all'] or ['block type:remote if local_exists']."
        for value, said in (("allow", ["allow"]), ([], []), (f"{ALLOW_ALL},{BLOCK_REMOTE}", [ALLOW_ALL, BLOCK_REMOTE])):
            assert refusal(lambda value=value: made(project_inheritance_rules=value)).problems == (
                f"Unknown value {said} for project_inheritance_rules, {rules}",
            )
        assert refusal(lambda: made(trust_inheritance_rules_from="")).problems == (
            "Unknown value '' for trust_inheritance_rules_from, must be 'none', 'type:not remote' or left unset.",
        )
        assert "did you mean 'remote_url'" in str(refusal(lambda: made(type="remote", remote_urll=URL)))

    def test_rules_of_an_index_leave_what_single_projects_are_allowed(self) -> None:
        config = made(mirror_whitelist="six")
        config = OPTIONS.patched(config, ["project_inheritance_rules=allow all"], TREE)
        assert set(whitelist(config)) == {"*", "six"}
        config = OPTIONS.patched(config, [f"project_inheritance_rules={BLOCK_REMOTE}"], TREE)
        assert whitelist(config) == ["six"]

    def test_what_is_dropped_is_as_if_it_had_not_been_said(self) -> None:
        config = made(trust_inheritance_rules_from=TRUST_NOT_REMOTE)
        assert OPTIONS.patched(config, ["trust_inheritance_rules_from-="], TREE) == made()
        remote = made(type="remote", remote_url=URL, remote_refresh_delay=60)
        assert OPTIONS.patched(remote, ["remote_refresh_delay-="], TREE) == made(type="remote", remote_url=URL)


class TestProjects:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"inheritance_rules": "allow all"}, ["mirror_whitelist+=demo"]),
            ({"inheritance_rules": ["allow all"], "name": "Demo"}, ["mirror_whitelist+=demo"]),
            (["inheritance_rules=allow all"], ["mirror_whitelist+=demo"]),
            (["inheritance_rules+=allow all"], ["mirror_whitelist+=demo"]),
            ({}, []),
            ([], []),
            ({"inheritance_rules": None}, []),
            (["inheritance_rules-="], []),
        ],
        ids=str,
    )
    def test_a_rule_is_an_entry_of_the_whitelist(self, options: Any, expected: list[str]) -> None:
        assert list(changed_project(made(), DEMO, options)) == expected
        closes = "-=" in str(options) or "None" in str(options)
        opened = made(mirror_whitelist="demo")
        assert list(changed_project(opened, DEMO, options)) == (["mirror_whitelist-=demo"] if closes else [])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"inheritance_rules": []}, "Unknown value [] for inheritance_rules, must be ['allow all'] or left unset."),
            ({"inheritance_rules": BLOCK_REMOTE}, f"Unknown value ['{BLOCK_REMOTE}'] for inheritance_rules, must be"),
            ({"rules": 1}, "project config got unexpected keyword arguments: rules=1"),
            ({"name": "other"}, "the 'name' of a project can't be changed"),
            (["inheritance_rules-=allow all"], "The 'inheritance_rules' setting doesn't have value 'allow all'"),
            (["inheritance_rules"], "cannot read the change"),
            ([1], "cannot read the change"),
        ],
        ids=str,
    )
    def test_what_devpi_does_not_know_is_refused(self, options: Any, message: str) -> None:
        assert message in str(refusal(changed_project, made(), DEMO, options))
