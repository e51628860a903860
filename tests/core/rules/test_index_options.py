"""Options from text to configurations and back: laws over every option, and the sentences that devpi's users know."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.models import ANONYMOUS, IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import IndexOption, IndexType
from pkgindex_core.rules.index_options import BUILTIN_OPTIONS, BUILTIN_TYPES, IndexOptions
from pkgindex_core.rules.kept_options import mirror_options, whitelist
from pkgindex_core.rules.option_values import principals

TYPES = {name: declared for name, (_, declared) in BUILTIN_TYPES.items()}
OPTIONS = {name: declared for name, (_, declared) in BUILTIN_OPTIONS.items()}
BUILTIN = IndexOptions(TYPES, OPTIONS)


def tree(*names: str) -> Tree:
    configs = [IndexConfig(name=IndexName(name)) for name in names]
    return Tree(serial=Serial(1), indexes={config.name: config for config in configs})


TREE = tree("root/pypi", "team/base", "a/b")
NAME = IndexName("alice/dev")


def stage(**options: Any) -> IndexConfig:
    return BUILTIN.made(NAME, options, TREE)


def mirror(url: str = "https://host/simple/", **options: Any) -> IndexConfig:
    return BUILTIN.made(NAME, {"type": "mirror", "mirror_url": url, **options}, TREE)


def refusal(function: Any, *arguments: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        function(*arguments)
    return refused.value


class TestDocuments:
    """Which keys are shown is part of devpi's protocol."""

    def test_a_fresh_stage_shows_what_has_a_default_and_nothing_else(self):
        assert BUILTIN.document(stage()) == {
            "type": "stage",
            "volatile": True,
            "bases": [],
            "acl_upload": ["alice"],
            "acl_toxresult_upload": [":AUTHENTICATED:"],
            "mirror_whitelist": [],
            "mirror_whitelist_inheritance": "intersection",
        }

    def test_a_mirror_shows_its_url_and_what_was_set(self):
        assert BUILTIN.document(mirror()) == {"type": "mirror", "volatile": True, "mirror_url": "https://host/simple/"}
        told = BUILTIN.document(mirror(title="PyPI", mirror_web_url_fmt="https://h/{name}", mirror_cache_expiry="5"))
        assert set(told) == {"type", "volatile", "mirror_url", "title", "mirror_web_url_fmt", "mirror_cache_expiry"}

    @pytest.mark.parametrize("url", ["https://host/simple", "https://host/simple/", "https://host"])
    def test_a_mirror_s_url_stays_as_it_was_given(self, url: str):
        """devpi's client writes a document back that it has read: what is shown must be what was said."""
        assert BUILTIN.document(mirror(url))["mirror_url"] == url

    def test_upload_rules_are_lenient_and_shown_only_when_they_are_not(self):
        assert stage().upload_rules == "lenient"
        strict = BUILTIN.changed(stage(), {"upload_rules": "pypi"}, TREE)
        assert (strict.upload_rules, BUILTIN.document(strict)["upload_rules"]) == ("pypi", "pypi")
        assert BUILTIN.patched(strict, ["upload_rules-="], TREE) == stage()
        assert "must be 'lenient' or 'pypi'" in str(refusal(BUILTIN.changed, stage(), {"upload_rules": "strict"}, TREE))

    def test_acl_read_is_shown_only_when_it_is_not_for_everybody(self):
        assert "acl_read" not in BUILTIN.document(stage(acl_read=":anonymous:"))
        assert BUILTIN.document(stage(acl_read="bob,:devs"))["acl_read"] == ["bob", ":devs"]

    def test_a_type_that_nobody_knows_is_shown_without_what_its_plugin_kept(self):
        strange = replace(stage(title="T"), type="constrained", options={"hook": "https://u:secret@h/"})
        shown = BUILTIN.document(strange)
        assert (shown["type"], shown["title"]) == ("constrained", "T")
        assert "secret" not in str(shown)

    def test_defaults_can_be_those_of_devpi(self):
        open_house = IndexOptions(TYPES, OPTIONS, {"acl_toxresult_upload": (ANONYMOUS,)})
        assert open_house.made(NAME, {}, TREE).acl_toxresult_upload == (ANONYMOUS,)


WORDS = st.sampled_from(["alice", "bob", ":devs", ":anonymous:", ":Authenticated:"])
PROJECTS = st.sampled_from(["foo", "Bar_Baz", "*", "a.b"])
BASES = st.sampled_from(["root/pypi", "team/base", "a/b"])
TITLES = st.text(max_size=20)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "volatile": st.sampled_from(["True", "no", True, False, "YES"]),
        "bases": st.lists(BASES),
        "acl_read": st.lists(WORDS),
        "acl_upload": st.lists(WORDS).map(",".join),
        "acl_toxresult_upload": st.lists(WORDS),
        "mirror_whitelist": st.lists(PROJECTS),
        "mirror_whitelist_inheritance": st.sampled_from(["union", "intersection"]),
        "upload_rules": st.sampled_from(["lenient", "pypi", "PyPI"]),
        "title": TITLES,
        "description": TITLES,
        "custom_data": st.recursive(
            st.integers() | st.text(max_size=5) | st.booleans(), lambda v: st.lists(v, max_size=3)
        ),
    },
)


class TestLaws:
    @given(GIVEN)
    def test_a_document_that_is_read_and_written_back_changes_nothing(self, given: dict[str, Any]):
        config = BUILTIN.made(NAME, given, TREE)
        assert BUILTIN.changed(config, BUILTIN.document(config), TREE) == config

    @given(GIVEN)
    def test_making_with_options_is_making_and_then_changing(self, given: dict[str, Any]):
        assert BUILTIN.made(NAME, given, TREE) == BUILTIN.changed(stage(), given, TREE)

    @given(GIVEN, GIVEN)
    def test_what_is_not_given_stays(self, first: dict[str, Any], second: dict[str, Any]):
        before, after = stage(**first), BUILTIN.changed(stage(**first), second, TREE)
        for key in set(OPTIONS) - set(second):
            assert getattr(before, key, None) == getattr(after, key, None)

    @given(st.lists(PROJECTS), PROJECTS)
    def test_adding_and_taking_away_are_inverse(self, names: list[str], name: str):
        before = BUILTIN.patched(stage(mirror_whitelist=list(dict.fromkeys(names))), ["title=x"], TREE)
        added = BUILTIN.patched(before, [f"mirror_whitelist+={name}"], TREE)
        assert BUILTIN.patched(added, [f"mirror_whitelist+={name}"], TREE) == added
        taken = BUILTIN.patched(added, [f"mirror_whitelist-={name}"], TREE)
        (parsed,) = whitelist(stage(mirror_whitelist=name))
        assert list(whitelist(taken)) == [each for each in whitelist(before) if each != parsed]

    @given(st.lists(st.one_of(st.text(max_size=30), st.integers(), st.none()), max_size=4))
    def test_any_patch_is_taken_or_refused(self, patches: list[Any]):
        try:
            BUILTIN.patched(stage(), patches, TREE)
        except Refused:
            return

    @given(st.sampled_from(sorted(OPTIONS)), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=5))  # fmt: skip
    def test_any_value_is_taken_or_refused(self, key: str, value: Any):
        for config in (stage(), mirror()):
            try:
                BUILTIN.changed(config, {key: value}, TREE)
            except Refused:
                continue


class TestPatches:
    def test_golden(self):
        changed = BUILTIN.patched(stage(), ["mirror_whitelist=foo,Bar_baz", "acl_upload+=bob", "title=T=x"], TREE)
        assert whitelist(changed) == ["foo", "bar-baz"]
        assert changed.acl_upload == ("alice", "bob")
        assert changed.title == "T=x"
        again = BUILTIN.patched(changed, ["title-=", "acl_upload-=alice", "acl_upload+=carol", "acl_upload-=bob"], TREE)
        assert (again.title, again.acl_upload) == ("", ("carol",))

    @pytest.mark.parametrize("patch", ["bases=/root/pypi", "bases=root/pypi/", "bases=/root/pypi/,//root/pypi"])
    def test_slashes_around_a_base_are_passed_over(self, patch: str):
        assert BUILTIN.patched(stage(), [patch], TREE).bases == ("root/pypi",)

    @pytest.mark.parametrize(
        ("patch", "sentence"),
        [
            ("acl_upload-=carol", "The 'acl_upload' setting doesn't have value 'carol'"),
            ("foo=bar", "indexconfig got unexpected keyword arguments: foo=bar"),
            ("foo+=bar", "indexconfig got unexpected keyword arguments: foo=bar"),
            ("bases-=", "Default values can't be removed."),
            ("volatile-=", "Default values can't be removed."),
            ("type=mirror", "the 'type' of an index can't be changed"),
            ("bases+=no/where", "base index 'no/where' does not exist"),
            ("bases=nonsense", "invalid base index spec: 'nonsense'"),
            ("bases=/root/pypi/x", "invalid base index spec: '/root/pypi/x'"),
            ("bases=/", "invalid base index spec: '/'"),
            ("title+=x", "the 'title' setting is not a list"),
            ("title", "cannot read the change"),
            ("nonsense", "indexconfig got unexpected keyword arguments: nonsense="),
        ],
    )
    def test_what_is_refused(self, patch: str, sentence: str):
        assert sentence in str(refusal(BUILTIN.patched, stage(), [patch], TREE))

    def test_all_that_is_wrong_is_told_at_once(self):
        error = refusal(BUILTIN.changed, stage(), {"volatile": "x", "bases": "a/c", "vlatile": "no", "foo": 1}, TREE)
        assert len(error.problems) == 3
        # In the message: devpi's client shows no hints.
        assert error.problems[-1].endswith("vlatile=no, foo=1 (did you mean 'volatile'?)")
        assert error.hint == ""

    def test_where_nothing_is_spelled_alike_the_hint_tells_all_there_are(self):
        error = refusal(BUILTIN.changed, stage(), {"xyz": 1}, TREE)
        assert error.problems == ("indexconfig got unexpected keyword arguments: xyz=1",)
        assert error.hint.startswith("known are ")

    def test_dropping_what_nobody_knows_clears_away_what_a_plugin_left(self):
        left = replace(stage(), options={"gone": 1, "kept": 2})
        assert BUILTIN.patched(left, ["gone-="], TREE).options == {"kept": 2}

    def test_a_base_that_is_gone_does_not_stand_in_the_way(self):
        config = replace(stage(), bases=(IndexName("was/there"),))
        assert BUILTIN.changed(config, {"bases": ["was/there"], "title": "x"}, TREE).title == "x"


class TestMirrors:
    def test_a_url_that_comes_back_without_credentials_keeps_them(self):
        config = mirror("https://me:p%40ss@host:8443/simple")
        assert mirror_options(config).credentials == "me:p@ss"
        assert "p@ss" not in str(BUILTIN.document(config))
        assert BUILTIN.changed(config, BUILTIN.document(config), TREE) == config
        moved = BUILTIN.changed(config, {"mirror_url": "https://host:8443/other/"}, TREE)
        assert mirror_options(moved).credentials == "me:p@ss"

    @pytest.mark.parametrize(
        "url",
        ["https://evil/simple/", "http://host:8443/simple/", "https://host/simple/", "https://@host:8443/simple/"],
    )
    def test_credentials_never_go_to_another_server(self, url: str):
        config = mirror("https://me:secret@host:8443/simple")
        assert mirror_options(BUILTIN.changed(config, {"mirror_url": url}, TREE)).credentials == ""

    def test_no_complaint_repeats_credentials(self):
        for options in (
            {"foo": "https://me:secret@host/"},
            {"mirror_url": "https://me:secret@host/?x"},
            {"mirror_url": "ftp://me:secret@host/"},
            {"mirror_web_url_fmt": "https://me:secret@host/"},
        ):
            assert "secret" not in str(refusal(BUILTIN.changed, mirror(), options, TREE))

    def test_what_devpi_once_kept_is_taken_and_passed_over(self):
        legacy = {"bases": "x", "acl_upload": ["a b"], "mirror_whitelist": "*", "pypi_whitelist": "*"}
        given = {**legacy, "mirror_provides_core_metadata": "True"}
        assert BUILTIN.changed(mirror(), given, TREE) == mirror()
        assert BUILTIN.changed(stage(), {"pypi_whitelist": "*"}, TREE) == stage()

    def test_devpi_7_calls_a_mirror_remote(self):
        made = BUILTIN.made(NAME, {"type": "remote", "mirror_url": "https://host/simple/"}, TREE)
        assert made == mirror()
        assert BUILTIN.changed(made, {"type": "remote", "title": "T"}, TREE) == replace(made, title="T")
        assert BUILTIN.document(made)["type"] == "mirror"

    @pytest.mark.parametrize("value", [10**30, -1, "9" * 40, True, "soon"])
    def test_an_expiry_that_cannot_be_stored_is_refused(self, value: Any):
        assert "mirror_cache_expiry" in str(refusal(lambda: mirror(mirror_cache_expiry=value)))
        assert mirror_options(mirror("https://host/simple/", mirror_cache_expiry="0")).cache_expiry == 0

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("30d", 30 * 86_400), (" 2W ", 14 * 86_400), ("90", 90), ("12h", 43_200), (5, 5), ("0", 0)],
    )
    def test_a_history_is_seconds_or_a_number_with_a_unit(self, value: Any, seconds: int):
        assert mirror_options(mirror(mirror_history=value)).history == seconds

    @pytest.mark.parametrize("value", ["-1", "1y", "d", "1.5d", True, "99999999999d", [1]])
    def test_a_history_that_is_no_length_of_time_is_refused(self, value: Any):
        assert "mirror_history" in str(refusal(lambda: mirror(mirror_history=value)))

    def test_sizes_are_a_number_of_files(self):
        assert mirror_options(mirror()).sizes == 20
        assert mirror_options(mirror(mirror_sizes="0")).sizes == 0
        assert BUILTIN.document(mirror(mirror_sizes=1000))["mirror_sizes"] == 1000

    @pytest.mark.parametrize("value", ["-1", "1001", "all", True, [1]])
    def test_sizes_that_are_no_number_of_files_are_refused(self, value: Any):
        assert "mirror_sizes" in str(refusal(lambda: mirror(mirror_sizes=value)))

    def test_which_statuses_mean_absent_is_a_list_that_commands_change(self):
        assert mirror_options(mirror()).absent_statuses == (404, 410)
        assert BUILTIN.document(mirror(upload_time="First-Seen"))["upload_time"] == "first-seen"
        assert "upload_time" in str(refusal(lambda: mirror(upload_time="now")))
        made = mirror(absent_statuses="404, 410,403,403")
        assert mirror_options(made).absent_statuses == (404, 410, 403)
        assert BUILTIN.document(made)["absent_statuses"] == [404, 410, 403]
        assert BUILTIN.patched(mirror(), ["absent_statuses+=403"], TREE) == made
        assert BUILTIN.patched(made, ["absent_statuses-=403"], TREE) == mirror()
        assert BUILTIN.patched(made, ["absent_statuses-="], TREE) == mirror()
        assert mirror_options(mirror(absent_statuses=403)).absent_statuses == (403,)

    @pytest.mark.parametrize(
        "value", ["", [], "200", "500", "404,503", "429", "4040", "-404", "none", "\u0664\u0660\u0664"]
    )
    def test_a_status_that_cannot_mean_absent_is_refused(self, value: Any):
        assert "absent" in str(refusal(lambda: mirror(absent_statuses=value)))

    def test_a_mirror_needs_a_url(self):
        assert "needs the option mirror_url" in str(refusal(BUILTIN.made, NAME, {"type": "mirror"}, TREE))
        assert "can't be removed" in str(refusal(BUILTIN.patched, mirror(), ["mirror_url-="], TREE))


class TestPluginsOptions:
    """What a plugin declares is an option like any other."""

    OWN = IndexOptions(
        {
            **TYPES,
            "constrained": IndexType(takes_uploads=False),
            "island": IndexType(has_bases=False),
            "copies": IndexType(mirrored=True),
        },
        {
            **OPTIONS,
            "constraints": IndexOption(parse=lambda value: tuple(value.split()) if isinstance(value, str) else tuple(value), types=("constrained",), default=lambda _: (), is_list=True),
            "hook": IndexOption(parse=str, secret=True),
        },
    )  # fmt: skip

    def test_a_plugins_type_has_the_options_of_a_stage_and_its_own(self):
        made = self.OWN.made(NAME, {"type": "constrained", "constraints": "a<2 b", "bases": "root/pypi"}, TREE)
        assert (made.read_only, made.options) == (True, {"constraints": ["a<2", "b"]})
        assert self.OWN.document(made)["constraints"] == ["a<2", "b"]
        assert self.OWN.patched(made, ["constraints+=c"], TREE).options["constraints"] == ["a<2", "b", "c"]
        assert "unexpected" in str(refusal(self.OWN.made, NAME, {"constraints": "a"}, TREE))

    def test_a_type_without_bases_has_no_options_about_them(self):
        assert "bases" not in self.OWN.document(self.OWN.made(NAME, {"type": "island"}, TREE))

    def test_a_type_may_be_mirrored_and_then_takes_and_inherits_nothing(self):
        made = self.OWN.made(NAME, {"type": "copies"}, TREE)
        assert (made.mirrored, made.read_only) == (True, True)
        assert {"bases", "mirror_whitelist", "acl_upload", "upload_rules"}.isdisjoint(self.OWN.document(made))
        for other in ("stage", "constrained", "island"):
            assert not self.OWN.made(NAME, {"type": other}, TREE).mirrored

    @pytest.mark.parametrize("kind", ["stage", "mirror", "nobody-knows"])
    def test_a_key_of_another_program_never_lies_where_an_option_is_believed(self, kind: str):
        config = self.OWN.blank(NAME, kind)
        given = {"mirror_credentials": "me:p", "constraints": "a", "mirrored": True, "exemptions": 1, "advisories": 1}
        given |= {"theirs": (1,)}
        taken, remarks = self.OWN.taken_over(config, given)
        assert taken == replace(config, options={"theirs": [1]})
        assert [remark.partition(" ")[0] for remark in remarks] == list(given)

    def test_a_secret_is_kept_and_never_shown(self):
        made = self.OWN.made(NAME, {"hook": "https://hooks.test/secret"}, TREE)
        assert "secret" not in str(self.OWN.document(made))
        assert self.OWN.changed(made, self.OWN.document(made), TREE) == made
        assert self.OWN.patched(made, ["hook-="], TREE).options == {}

    def test_no_option_takes_the_place_of_what_is_not_an_option(self):
        with pytest.raises(Refused, match="mirror_credentials"):
            IndexOptions(TYPES, {"mirror_credentials": IndexOption(parse=str)})


def test_groups_are_called_what_a_directory_calls_them() -> None:
    """A user's name becomes a part of URLs, a group's does not. What looks like a special name is one, or a mistake."""
    named = [":release managers", ":cn=dev,ou=groups,dc=example", ":Ä", ":authenticated:", "anna"]
    assert principals(named) == (*named[:3], ":AUTHENTICATED:", "anna")
    for wrong in (":", ":nobody:", ":a\tb", f":{'x' * 257}", "an na"):
        with pytest.raises(Refused):
            principals([wrong])
