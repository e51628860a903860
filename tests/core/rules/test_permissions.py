"""Who may do what: a truth table, then laws over every principal, action and configuration.

The table says, for each kind of index and each action, exactly who is allowed; whoever is not named is denied.
"""

import itertools

import pytest
from msgspec.structs import replace

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.identity import HouseRules, Principal, TokenScope
from pkgindex_core.rules.permissions import ABOUT_A_USER, ABOUT_AN_INDEX, DELEGABLE, UNDELEGABLE, Action, permits

DEMO = ProjectName("demo")

PRINCIPALS = {
    "nobody": Principal(),
    "owner": Principal(name="owner"),
    "bob": Principal(name="bob"),
    "carol": Principal(name="carol", groups=("devs",)),
    "dave": Principal(name="dave", groups=("other",)),
    "root": Principal(name="root"),
}
EVERYONE = "nobody owner bob carol dave root"
KNOWN = "owner bob carol dave root"


def index(read: str, upload: str, name: str = "owner/dev") -> IndexConfig:
    return IndexConfig(name=IndexName(name), acl_read=tuple(read.split()), acl_upload=tuple(upload.split()))


def results(read: str, upload_results: str) -> IndexConfig:
    return replace(index(read, ""), acl_toxresult_upload=tuple(upload_results.split()))


INDEXES = {
    "open, owner uploads": index(":ANONYMOUS:", ""),
    "open, bob uploads": index(":ANONYMOUS:", "bob"),
    "private to nobody": index("", ""),
    "private to bob and devs": index("bob :devs", "bob :devs"),
    "for all who log in": index(":AUTHENTICATED:", ":AUTHENTICATED:"),
    "dropbox": index("", ":ANONYMOUS:"),
    "dropbox with a maintainer": index(":anonymous:", ":anonymous: dave"),
    "root's own": index(":ANONYMOUS:", "", name="root/dev"),
    "results from all": results(":ANONYMOUS:", ":anonymous:"),
    "results from carol": results(":ANONYMOUS:", "carol"),
    "private, results from all": results("bob", ":ANONYMOUS:"),
}

READS, PUBLISHES, MAINTAINS, RESULTS = (
    "read explain refresh",
    "upload upload-docs",
    "delete yank mark",
    "upload-results",
)
FETCHES, CONFIGURES = "push follow", "index-modify index-delete"
TRUTH = {
    "open, owner uploads": {
        READS: EVERYONE,
        FETCHES: KNOWN,
        PUBLISHES: "owner",
        MAINTAINS: "owner root",
        RESULTS: KNOWN,
    },
    "open, bob uploads": {
        READS: EVERYONE,
        FETCHES: KNOWN,
        PUBLISHES: "bob",
        MAINTAINS: "owner bob root",
        RESULTS: KNOWN,
    },
    "private to nobody": {
        READS: "owner root",
        FETCHES: "owner root",
        PUBLISHES: "owner",
        MAINTAINS: "owner root",
        RESULTS: "owner root",
    },
    "private to bob and devs": {
        READS: "owner bob carol root",
        FETCHES: "owner bob carol root",
        PUBLISHES: "bob carol",
        MAINTAINS: "owner bob carol root",
        RESULTS: "owner bob carol root",
    },
    "for all who log in": {READS: KNOWN, FETCHES: KNOWN, PUBLISHES: KNOWN, MAINTAINS: KNOWN, RESULTS: KNOWN},
    "dropbox": {
        READS: "owner root",
        FETCHES: "owner root",
        PUBLISHES: EVERYONE,
        MAINTAINS: "owner root",
        RESULTS: "owner root",
    },
    "dropbox with a maintainer": {
        READS: EVERYONE,
        FETCHES: KNOWN,
        PUBLISHES: EVERYONE,
        MAINTAINS: "owner dave root",
        RESULTS: KNOWN,
    },
    "root's own": {READS: EVERYONE, FETCHES: KNOWN, PUBLISHES: "root", MAINTAINS: "root", RESULTS: KNOWN},
    "results from all": {
        READS: EVERYONE,
        FETCHES: KNOWN,
        PUBLISHES: "owner",
        MAINTAINS: "owner root",
        RESULTS: EVERYONE,
    },
    "results from carol": {
        READS: EVERYONE,
        FETCHES: KNOWN,
        PUBLISHES: "owner",
        MAINTAINS: "owner root",
        RESULTS: "carol",
    },
    "private, results from all": {
        READS: "owner bob root",
        FETCHES: "owner bob root",
        PUBLISHES: "owner",
        MAINTAINS: "owner root",
        RESULTS: "owner bob root",
    },
}
TRUTH_ABOUT_OWNING = {"root's own": "root"}  # everywhere else the owner and root configure

CELLS = [
    (place, Action(action), who.split())
    for place, rows in TRUTH.items()
    for actions, who in (rows | {CONFIGURES: TRUTH_ABOUT_OWNING.get(place, "owner root")}).items()
    for action in actions.split()
]


@pytest.mark.parametrize(("place", "action", "who"), CELLS)
def test_the_truth_about_indexes(place: str, action: Action, who: list[str]) -> None:
    allowed = [name for name, principal in PRINCIPALS.items() if permits(principal, action, index=INDEXES[place])]
    assert allowed == who


def test_the_truth_table_leaves_no_action_out() -> None:
    said = {action for _, action, _ in CELLS} | {Action.INDEX_CREATE}
    assert said == ABOUT_AN_INDEX
    about_the_server = {
        Action.USER_CREATE,
        Action.USER_LIST,
        Action.STATUS,
        Action.METRICS,
        Action.CHANGES,
        Action.ADMIN,
    }
    assert said | ABOUT_A_USER | about_the_server == set(Action)


def allowed_to(action: Action, **about: str) -> str:
    return " ".join(name for name, principal in PRINCIPALS.items() if permits(principal, action, **about))  # type: ignore[arg-type]  # `user` is text, `index` is never given here


def test_the_truth_about_users() -> None:
    for action in (Action.USER_READ, Action.USER_MODIFY, Action.PASSWORD_CHANGE, Action.TOKEN_MANAGE):
        assert allowed_to(action, user="bob") == "bob root"
        assert allowed_to(action, user="root") == "root"
        assert allowed_to(action, user="not there") == "root"
    assert allowed_to(Action.USER_DELETE, user="bob") == "bob root"
    assert allowed_to(Action.USER_DELETE, user="root") == ""


def test_the_truth_about_the_server() -> None:
    assert allowed_to(Action.USER_CREATE) == "root"
    assert allowed_to(Action.USER_CREATE, user="bob") == "root"
    assert allowed_to(Action.ADMIN) == "root"
    assert allowed_to(Action.CHANGES) == "root"
    assert allowed_to(Action.METRICS) == KNOWN
    assert allowed_to(Action.USER_LIST) == KNOWN
    assert allowed_to(Action.STATUS) == EVERYONE


def test_an_index_is_created_by_its_owner_to_be_and_by_root() -> None:
    assert allowed_to(Action.INDEX_CREATE, user="bob") == "bob root"
    assert allowed_to(Action.INDEX_CREATE) == "root"
    bobs = index("", "", name="bob/new")
    assert [name for name, who in PRINCIPALS.items() if permits(who, Action.INDEX_CREATE, index=bobs)] == [
        "bob",
        "root",
    ]


def test_without_credentials_nothing_is_written_but_uploads_that_an_index_names() -> None:
    harmless = {Action.READ, Action.EXPLAIN, Action.REFRESH, Action.STATUS}
    for action, place in itertools.product(set(Action) - harmless, INDEXES.values()):
        results = action is Action.UPLOAD_RESULTS
        opening = place.acl_toxresult_upload if results else place.acl_upload
        uploads = action.value.startswith("upload") and any(entry.upper() == ":ANONYMOUS:" for entry in opening)
        if results:
            uploads = uploads and bool(permits(Principal(), Action.READ, index=place))
        assert bool(permits(Principal(), action, index=place, user="bob")) is uploads


def test_a_group_is_not_a_user_and_a_user_is_not_a_group() -> None:
    named_devs = Principal(name="devs")
    in_bob = Principal(name="x", groups=("bob",))
    private = INDEXES["private to bob and devs"]
    assert not permits(named_devs, Action.READ, index=private)
    assert not permits(in_bob, Action.READ, index=private)
    assert not permits(Principal(groups=("devs",)), Action.READ, index=private)


def test_names_are_compared_exactly_and_special_names_in_any_case() -> None:
    assert not permits(Principal(name="BOB"), Action.UPLOAD, index=INDEXES["open, bob uploads"])
    assert permits(PRINCIPALS["dave"], Action.READ, index=index(":authenticated:", ""))
    assert not permits(Principal(name="Root"), Action.ADMIN)


def token(name: str = "bob", *, indexes: str = "", projects: str = "", actions: str = "") -> Principal:
    scope = TokenScope(
        token_id="t1", indexes=tuple(indexes.split()), projects=tuple(projects.split()), actions=tuple(actions.split())
    )
    return Principal(name=name, scope=scope)


BOBS = index("bob", "bob", name="team/dev")
OTHERS = index("bob", "bob", name="other/dev")
PUBLIC = index(":ANONYMOUS:", "bob", name="root/pypi")


def test_a_token_without_limits_is_its_user() -> None:
    for action, place, name in itertools.product(Action, INDEXES.values(), ("owner", "bob", "root")):
        with_token = permits(token(name), action, index=place, user="bob", project=DEMO)
        assert bool(with_token) == bool(permits(Principal(name=name), action, index=place, user="bob", project=DEMO))


LIMITS = [
    {"indexes": "owner/dev"},
    {"indexes": "root/* elsewhere/*"},
    {"projects": "demo other-*"},
    {"projects": "nope"},
    {"actions": "read"},
    {"actions": "*"},
    {"actions": "upload yank user-modify token-manage"},
    {"indexes": "*", "projects": "*", "actions": "*"},
]


@pytest.mark.parametrize("limits", LIMITS)
def test_a_token_never_widens(limits: dict[str, str]) -> None:
    for action, place, (name, user), project in itertools.product(
        Action, INDEXES.values(), PRINCIPALS.items(), (None, DEMO)
    ):
        narrowed = Principal(name=user.name, groups=user.groups, scope=token(name, **limits).scope)
        if permits(narrowed, action, index=place, user="bob", project=project):
            assert permits(user, action, index=place, user="bob", project=project)


@pytest.mark.parametrize("limits", LIMITS)
def test_a_limited_token_manages_no_tokens_and_changes_no_password(limits: dict[str, str]) -> None:
    for name, action in itertools.product(("bob", "root"), UNDELEGABLE):
        assert not permits(token(name, **limits), action, user=name, index=PUBLIC, project=DEMO)


@pytest.mark.parametrize(
    ("limits", "place", "project", "allowed"),
    [
        ({"indexes": "team/dev"}, BOBS, DEMO, True),
        ({"indexes": "team/dev"}, BOBS, None, True),
        ({"indexes": "team/dev"}, OTHERS, DEMO, False),
        ({"indexes": "team/*"}, BOBS, DEMO, True),
        ({"indexes": "team"}, BOBS, DEMO, False),
        ({"indexes": "TEAM/dev"}, BOBS, DEMO, False),
        ({"indexes": "x/* */dev"}, OTHERS, DEMO, True),
        ({"projects": "demo"}, OTHERS, DEMO, True),
        ({"projects": "dem?"}, OTHERS, DEMO, True),
        ({"projects": "demo-*"}, OTHERS, DEMO, False),
        ({"projects": "demo"}, OTHERS, None, False),
        ({"actions": "upload"}, BOBS, DEMO, True),
        ({"actions": "upload*"}, BOBS, DEMO, True),
        ({"actions": "read"}, BOBS, DEMO, False),
        ({"indexes": "team/dev", "projects": "demo", "actions": "upload"}, BOBS, DEMO, True),
        ({"indexes": "team/dev", "projects": "demo", "actions": "upload"}, OTHERS, DEMO, False),
        ({"indexes": "team/dev", "projects": "x", "actions": "upload"}, BOBS, DEMO, False),
    ],
)
def test_limits(limits: dict[str, str], place: IndexConfig, project: ProjectName | None, allowed: bool) -> None:
    assert bool(permits(token(**limits), Action.UPLOAD, index=place, project=project)) is allowed


def test_what_is_not_about_an_index_is_beyond_a_token_for_indexes() -> None:
    assert permits(token("root", indexes="*"), Action.ADMIN).allowed is False
    assert permits(token(indexes="*"), Action.USER_MODIFY, user="bob").allowed is False
    assert permits(token(actions="user-modify"), Action.USER_MODIFY, user="bob").allowed is True


def test_a_limited_token_sees_what_everybody_sees_but_writes_nothing_more() -> None:
    limited = token(indexes="team/dev")
    assert permits(limited, Action.READ, index=PUBLIC, project=DEMO)
    assert permits(limited, Action.STATUS)
    assert not permits(limited, Action.READ, index=OTHERS, project=DEMO)
    assert not permits(limited, Action.UPLOAD, index=INDEXES["dropbox"], project=DEMO)
    assert not permits(token(actions="read"), Action.UPLOAD, index=INDEXES["dropbox"], project=DEMO)
    assert permits(token(actions="upload"), Action.READ, index=PUBLIC)


def test_delegable_actions_are_all_but_the_personal_secrets() -> None:
    assert set(DELEGABLE) == {action.value for action in Action} - {"token-manage", "password-change"}
    everything = token(actions=" ".join(DELEGABLE))
    assert permits(everything, Action.UPLOAD, index=BOBS, project=DEMO)
    assert not permits(everything, Action.TOKEN_MANAGE, user="bob")


def test_reasons_say_who_what_and_why() -> None:
    private = INDEXES["private to bob and devs"]
    assert permits(PRINCIPALS["dave"], Action.UPLOAD, index=private).reason == (
        "dave may not upload on owner/dev: acl_upload does not name them"
    )
    assert permits(Principal(), Action.READ, index=private).reason == (
        "[anonymous] may not read on owner/dev: acl_read does not name them"
    )
    assert permits(PRINCIPALS["bob"], Action.READ, index=private).reason == "bob may read on owner/dev"
    assert permits(token(actions="read"), Action.UPLOAD, index=BOBS).reason == "the token t1 is not for upload"
    assert permits(PRINCIPALS["bob"], Action.INDEX_DELETE, index=private).reason == (
        "index-delete is for owner and root only, not for bob"
    )


def test_no_reason_of_a_denial_shows_the_list() -> None:
    for place, action, (name, principal) in itertools.product(INDEXES.values(), ABOUT_AN_INDEX, PRINCIPALS.items()):
        decision = permits(principal, action, index=place)
        if not decision.allowed and name != "bob":
            assert "bob" not in decision.reason
            assert "devs" not in decision.reason


@pytest.mark.parametrize("action", sorted(ABOUT_AN_INDEX - {Action.INDEX_CREATE}))
def test_an_action_about_an_index_needs_one(action: Action) -> None:
    with pytest.raises(ValueError, match="needs to know"):
        permits(PRINCIPALS["root"], action)


@pytest.mark.parametrize("action", sorted(ABOUT_A_USER))
def test_an_action_about_a_user_needs_one(action: Action) -> None:
    with pytest.raises(ValueError, match="needs to know"):
        permits(PRINCIPALS["root"], action)


RESTRICTED = HouseRules(restrict_modify=("ben", ":leads"))
IN_THE_HOUSE = {
    name: replace(principal, house=RESTRICTED)
    for name, principal in (
        PRINCIPALS | {"ben": Principal(name="ben"), "lea": Principal(name="lea", groups=("leads",))}
    ).items()
}


def restricted(action: Action, **about: object) -> str:
    return " ".join(
        name
        for name, principal in IN_THE_HOUSE.items()
        if permits(principal, action, **about)  # type: ignore[arg-type]  # `user` or `index`, each of its own type
    )


def test_with_restrict_modify_the_named_manage_in_the_place_of_root_and_owners() -> None:
    place = INDEXES["open, bob uploads"]
    for action in (Action.INDEX_CREATE, Action.INDEX_MODIFY, Action.INDEX_DELETE):
        assert restricted(action, index=place) == "ben lea"
    assert restricted(Action.USER_CREATE) == "ben lea"
    assert restricted(Action.USER_MODIFY, user="bob") == "ben lea"
    assert restricted(Action.USER_DELETE, user="bob") == "ben lea"
    assert restricted(Action.USER_DELETE, user="ben") == "lea"
    assert restricted(Action.USER_DELETE, user="root") == ""
    assert restricted(Action.DELETE, index=place) == "bob ben lea"
    assert restricted(Action.READ, index=INDEXES["private to nobody"]) == "owner ben lea"


def test_with_restrict_modify_users_keep_their_own_password_and_uploads_are_as_before() -> None:
    for action in (Action.PASSWORD_CHANGE, Action.TOKEN_MANAGE, Action.USER_READ):
        assert restricted(action, user="bob") == "bob ben lea"
    assert restricted(Action.UPLOAD, index=INDEXES["open, bob uploads"]) == "bob"
    assert restricted(Action.ADMIN) == restricted(Action.CHANGES) == "root"


def test_whom_restrict_modify_names_can_become_root_as_with_devpi() -> None:
    for action in (Action.USER_MODIFY, Action.PASSWORD_CHANGE, Action.TOKEN_MANAGE):
        assert {"ben", "lea"} <= set(restricted(action, user="root").split())


def test_open_registration_lets_everybody_make_users_and_nothing_else() -> None:
    house = HouseRules(open_registration=True)
    for principal, action, place in itertools.product(PRINCIPALS.values(), Action, INDEXES.values()):
        opened = permits(replace(principal, house=house), action, index=place, user="bob")
        closed = permits(principal, action, index=place, user="bob")
        assert bool(opened) is (bool(closed) or action is Action.USER_CREATE)
    both = HouseRules(open_registration=True, restrict_modify=("ben",))
    assert not permits(Principal(house=both), Action.USER_CREATE)


def test_an_index_of_a_type_that_nobody_knows_can_be_read_and_deleted_only() -> None:
    house = HouseRules(index_types=frozenset({"stage", "mirror"}))
    strange = replace(INDEXES["for all who log in"], type="timemachine")
    for principal, action in itertools.product(PRINCIPALS.values(), ABOUT_AN_INDEX - {Action.INDEX_CREATE}):
        allowed = bool(permits(replace(principal, house=house), action, index=strange))
        if action in {Action.READ, Action.EXPLAIN, Action.PUSH, Action.FOLLOW, Action.REFRESH, Action.INDEX_DELETE}:
            assert allowed is bool(permits(principal, action, index=strange))
        else:
            assert not allowed
